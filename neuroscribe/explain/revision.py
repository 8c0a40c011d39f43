"""The explainer `revision`: another explainer's text, made better by where it is wrong on training text.

After the revision of Bills et al. 2023, with its controls as settings of the same kind: a second look without
new evidence (`none`), and evidence drawn by chance in place of errors (`random`). What the errors are is said
by the study's first sentence encoder, which reads the first text everywhere and costs nothing; the paper
lets an LLM make sentences up. (docs/decisions/0026-revision.md)
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from neuroscribe.evidence.encoded import text_vector
from neuroscribe.evidence.exemplars import Neuron, training_exemplars
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.texts import read_texts
from neuroscribe.explain.derived import Derived, stated
from neuroscribe.explain.explainer import Before, Shown
from neuroscribe.explain.pairs import discretised, excerpt_pairs
from neuroscribe.explain.training_text import Found, Place, TrainingText
from neuroscribe.explain.wording import Example, filled
from neuroscribe.study.sections import MOST
from neuroscribe.text.escaping import escaped, quoted
from neuroscribe.text.marks import STRONG, marked

NO_ERROR = "the first explanation misses nothing on training text, and expects nothing wrongly"
Few = Annotated[int, Field(ge=0, le=100)]


class Revision(Derived):
    """A better text, from what the first one misses and wrongly expects."""

    kind: Literal["revision"] = "revision"
    evidence: Literal["errors", "random", "none"] = Field(
        default="errors", description="`random` and `none` are the controls: what new evidence, or any, adds"
    )
    excerpts: Few = Field(default=3, description="of the strongest exemplars, shown once more")
    misses: Few = 3
    false_alarms: Few = 3
    excerpt_tokens: Annotated[int, Field(ge=4, le=MOST)] = 24

    @property
    def excerpts_shown(self) -> int:
        """As many exemplars as are shown again."""
        return self.excerpts

    @property
    def uses_encoder(self) -> bool:
        """Whether the errors are looked for."""
        return self.evidence == "errors"

    @property
    def is_mark(self) -> bool:
        """Whether it is one of the controls."""
        return self.evidence != "errors"

    def shown(self, evidence: LayerEvidence, neuron: Neuron, before: Before) -> Shown:
        """Return the first text with excerpts; all that anybody was shown counts as seen."""
        first = before.text_of(self.of, neuron)
        if first is None:
            return Shown(reason=self.without())
        strongest = [
            Place(row["sequence_id"], row["peak_position"], tuple(neuron[1] * np.array(row["activations"])))
            for row in training_exemplars(evidence.records(neuron), self.excerpts).iter_rows(named=True)
        ]
        again = [place.sequence_id for place in strongest]
        found = self._found(evidence, neuron, before, first, again)
        if found == Found() and self.evidence == "errors" and before.encoder:
            return Shown(reason=NO_ERROR)
        seen = tuple(dict.fromkeys((*first["sequence_ids"], *again, *found.sequence_ids)))
        question = self._question(
            stated(first["text"]),
            strongest=self._excerpts(evidence, strongest),
            missed=self._excerpts(evidence, found.firing),
            silent=self._excerpts(evidence, found.silent, least=evidence.firing(neuron)),
            at=[escaped(evidence.tokens[each.sequence_id][each.position]) for each in found.silent],
        )
        return Shown(seen, self.asked(question))

    def _found(
        self, evidence: LayerEvidence, neuron: Neuron, before: Before, first: Any, again: Sequence[int]
    ) -> Found:
        """Return the new evidence; a plan, which reads nothing, takes what was drawn for it."""
        if self.evidence == "none":
            return Found()
        is_table_read = evidence.study.reads_table(self.of)
        text = TrainingText(evidence, neuron, is_table_read=is_table_read, without=again)
        counts = {"firing": self.misses, "silent": self.false_alarms}
        encoder = before.encoder
        if self.evidence == "random" or encoder is None:
            return text.drawn(f"{evidence.study.sample.seed} {evidence.layer} {neuron}", **counts)
        pieces = evidence.pieces(encoder.identity)
        vectors = [text_vector(part, encoder.pieces, encoder.sentence) for part in read_texts(first)]
        return text.errors(pieces.readings(*vectors), **counts)

    def _excerpts(
        self, evidence: LayerEvidence, places: Sequence[Place], *, least: float | None = None
    ) -> list[str]:
        """Return each place with its surroundings, marked from half of its own peak on, or `least`."""
        excerpts: list[str] = []
        for place in places:
            values = np.array(place.values)
            if least is None:
                shown = discretised(values, maximum=float(values.max(initial=0)), polarity=1)
            else:
                shown = np.where(values >= least, STRONG, 0)
            tokens = evidence.tokens[place.sequence_id]
            pairs = excerpt_pairs(tokens, shown, peak=place.position, length=self.excerpt_tokens)
            excerpts += marked([pairs])
        return excerpts

    def worked_question(self, example: Example) -> str:
        """Return the question of a worked example."""
        shown = example.shown
        return self._question(
            stated(shown["first"]),
            strongest=shown["strongest"] if self.excerpts else (),
            missed=shown["missed"] if self.evidence != "none" else (),
            silent=shown["silent"] if self.evidence != "none" else (),
            at=shown["at"],
        )

    def _question(
        self,
        first: str,
        *,
        strongest: Sequence[str],
        missed: Sequence[str],
        silent: Sequence[str],
        at: Sequence[str],
    ) -> str:
        parts = self.words.parts
        lists = {"strongest": strongest, "missed": missed, "silent": silent}
        listed = {name: _numbered(parts[name], excerpts) for name, excerpts in lists.items()}
        if silent:
            listed["silent"] += filled(parts["at"], tokens=", ".join(dict.fromkeys(map(quoted, at))))
        return filled(self.words.question, first=first, **listed).strip()


def _numbered(heading: str, excerpts: Sequence[str]) -> str:
    """Return a list below its heading; nothing for an empty one."""
    # The number keeps corpus text from the beginning of a line, where headings and answers stand.
    lines = [f"{place}. {excerpt}\n" for place, excerpt in enumerate(excerpts, start=1)]
    return f"{heading}\n{''.join(lines)}" if lines else ""
