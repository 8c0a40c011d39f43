"""The licences of all pinned artefacts, as a resource."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from resources.pins import PINS_FILE, read_pins


class Licences(dg.ConfigurableResource):
    """Fulfils the port `LicenceSource`."""

    pins: str = Field(default=str(PINS_FILE), description="file of the pins")

    def licences(self) -> dict[str, str]:
        """Return a sentence per artefact name."""
        return {name: pin.licence for name, pin in read_pins(Path(self.pins)).items()}
