"""Word to an address elsewhere: a small JSON message, as chats and pagers take them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from neuroscribe.errors import StoreError
from neuroscribe.secrets.known import without_secrets

VARIABLE = "NEUROSCRIBE_ALERT_URL"
_WAIT_S = 20.0
_LONGEST = 2000
"""Characters of one value; what was said in full stands in the run."""


@dataclass(frozen=True)
class Webhook:
    """An address to which messages are posted; it is a secret, for who has it may post there, too."""

    url: str = field(repr=False)

    def post(self, facts: Mapping[str, str]) -> None:
        """Post facts as JSON, and as one line under `text`; raises StoreError where it is not taken."""
        shown = {name: without_secrets(value)[:_LONGEST] for name, value in facts.items() if value}
        line = "neuroscribe: a run failed: " + ", ".join(f"{name} {value}" for name, value in shown.items())
        try:
            answer = httpx2.post(
                self.url, json={"text": line, **shown}, timeout=_WAIT_S, follow_redirects=False
            )
            answer.raise_for_status()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # The words of such errors hold the address.
            status = f"HTTP {error.response.status_code}" if isinstance(error, httpx2.HTTPStatusError) else ""
            raise StoreError(
                f"the address in {VARIABLE} does not take messages ("
                f"{status or type(error).__name__}); correct it, or unset it"
            ) from None
