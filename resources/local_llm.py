"""The LLM that runs in this process: loaded like a subject, warm from run to run."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from neuroscribe.errors import LLMError, SubjectError
from neuroscribe.ports import Progress
from neuroscribe.studies import LLMSpec
from resources.artefacts import Artefacts
from resources.weights import Warm, chosen_device, load_causal_lm, load_tokenizer, revision_of

if TYPE_CHECKING:
    from neuroscribe.local_llm import LocalLLM

_LLM: "Warm[LocalLLM]" = Warm()


class LocalModels(dg.ConfigurableResource):
    """Opens the in-process LLMs that studies name."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of fetched and converted models")
    hub: bool = Field(default=True, description="whether a model hub may be asked")

    def open(self, spec: LLMSpec, *, progress: Progress | None = None) -> "LocalLLM":
        """Return the LLM; it stays loaded for the next run in this process.

        Raises LLMError or ArtefactError when it cannot be had.
        """
        try:
            device = chosen_device(self.device)
            return _LLM.opened((spec, device, self.cache_dir), lambda: self._load(spec, progress))
        except SubjectError as error:
            raise LLMError(str(error)) from error

    def _load(self, spec: LLMSpec, progress: Progress | None) -> "LocalLLM":
        from neuroscribe.local_llm import LocalLLM

        artefacts = Artefacts(Path(self.cache_dir), hub=self.hub, progress=progress)
        tokenizer = load_tokenizer(spec, artefacts=artefacts)
        model = load_causal_lm(spec, artefacts=artefacts, device=chosen_device(self.device))
        revision = revision_of(model, spec, artefacts=artefacts)
        dtype = str(model.dtype).removeprefix("torch.")
        return LocalLLM(
            model, tokenizer, identity=f"{spec.model}@{revision} {dtype}", style=spec.prompt_style
        )
