"""The subject: loaded once per process, on the device that the machine has."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from pydantic import Field

from neuroscribe.errors import SubjectError
from neuroscribe.ports.stores import Progress
from neuroscribe.study.subject import RANDOMISED, SubjectSpec
from neuroscribe.subject.units.kinds import UNIT_KINDS, chosen_units
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.text.token_bytes import TokenizerFacts
from resources.models.artefacts import Artefacts
from resources.models.faults import explained
from resources.models.randomised import load_randomised
from resources.models.weights import Warm, chosen_device, load_causal_lm, load_tokenizer, revision_of

if TYPE_CHECKING:
    from neuroscribe.subject.subject import Subject

_SUBJECT: "Warm[Subject]" = Warm()
_TOKENIZER: Warm[TokenizerFacts] = Warm()


class SubjectModels(dg.ConfigurableResource):
    """Opens the models that studies name; settings here change speed and place, never results."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps")
    batch_tokens: int = Field(default=0, ge=0, description="tokens per forward pass; 0: what fits the device")
    checkpoint_seconds: float = Field(default=60.0, ge=0, description="least time between checkpoints")
    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of fetched and converted models")
    hub: bool = Field(default=True, description="whether a model hub may be asked")
    # No setting, so Dagster hands it on as it does a resource.
    unit_kinds: dg.ResourceDependency[Mapping[str, UnitKind]] = cast(Any, UNIT_KINDS)

    def open(self, spec: SubjectSpec, *, progress: Progress | None = None) -> "Subject":
        """Return the subject, ready to be read; it stays loaded for the next run in this process.

        Raises StudyError for an unknown kind of unit, and SubjectError or ArtefactError when it cannot be
        had, or its prefix token is not in its vocabulary.
        """
        units, device = self.units(spec), chosen_device(self.device)
        key = (spec, units, device, self.batch_tokens, self.checkpoint_seconds, self.cache_dir)
        return _SUBJECT.opened(key, lambda: self._load(spec, units, device, progress))

    def tokenizer(self, spec: SubjectSpec, *, progress: Progress | None = None) -> TokenizerFacts:
        """Return the facts of the subject's tokenizer without loading its weights."""
        self.units(spec)  # the first stage of a study asks for no more
        return _TOKENIZER.opened((spec, self.cache_dir), lambda: self._load_tokenizer(spec, progress))

    def units(self, spec: SubjectSpec) -> UnitKind:
        """Return what a neuron is, without loading anything; raises StudyError for an unknown kind."""
        return chosen_units(spec, self.unit_kinds)

    def _load(self, spec: SubjectSpec, units: UnitKind, device: Any, progress: Progress | None) -> "Subject":
        from neuroscribe.capture import automatic_batch_tokens
        from neuroscribe.subject.compiled import CompiledBackbone, fuse_gelu
        from neuroscribe.subject.subject import Subject

        artefacts = self._artefacts(progress)
        tokenizer = self.tokenizer(spec, progress=progress)
        prefix = prefix_ids(spec, tokenizer)
        load = load_randomised if spec.randomised else load_causal_lm
        model = load(spec, artefacts=artefacts, device=device)
        if spec.fused_gelu and not fuse_gelu(model):
            raise SubjectError(
                f"{spec.model} has no activation function that can be fused (GPT-2's tanh form of GELU);"
                " remove subject.fused_gelu"
            )
        revision = revision_of(model, spec, artefacts=artefacts)
        return Subject(
            model=model,
            tokenizer=tokenizer,
            name=spec.model,
            revision=f"{revision}, {RANDOMISED}" if spec.randomised else revision,
            dtype=model.dtype,
            device=device,
            prefix_ids=prefix,
            batch_tokens=self.batch_tokens or automatic_batch_tokens(model, device, units),
            checkpoint_seconds=self.checkpoint_seconds,
            compiled=CompiledBackbone(model, units) if spec.compiled else None,
            units=units,
        )

    def _load_tokenizer(self, spec: SubjectSpec, progress: Progress | None) -> TokenizerFacts:
        from neuroscribe.text.token_bytes import tokenizer_facts

        tokenizer = load_tokenizer(spec, artefacts=self._artefacts(progress))
        with explained(spec.model, "tokenizer", "choose another revision or model"):
            return tokenizer_facts(tokenizer)

    def _artefacts(self, progress: Progress | None) -> Artefacts:
        return Artefacts(Path(self.cache_dir), hub=self.hub, progress=progress)


def prefix_ids(spec: SubjectSpec, tokenizer: TokenizerFacts) -> tuple[int, ...]:
    """Return the id of the token fed before every sequence, or nothing if the study names none."""
    if spec.prefix_token is None:
        return ()
    wanted = spec.prefix_token.encode()
    special = {index: tokenizer.token_bytes[index] for index in sorted(tokenizer.special_ids)}
    for index, token in special.items():
        if token == wanted:
            return (index,)
    raise SubjectError(
        f"{spec.model} has no special token {spec.prefix_token!r}; subject.prefix_token can be one of"
        f" {', '.join(token.decode() for token in special.values()) or 'none'}"
    )
