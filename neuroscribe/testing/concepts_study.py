"""A whole study around the subject of planted concepts: files, and the model that explains and simulates.

Explainers are told apart by how many excerpts they show: `label_2` shows two, and gets the second label.
"""

import re
from pathlib import Path

from neuroscribe.testing.concepts_subject import save
from neuroscribe.testing.planted_concepts import (
    CONCEPTS,
    LABELS,
    STRONG,
    WINDOW,
    Label,
    concept_texts,
    label_of,
)
from neuroscribe.testing.planted_study import MODEL

_EXCERPT = re.compile(r"^Excerpt \d+:$", re.MULTILINE)
_PAIR = re.compile(r"^(.*)\t(10|\d)$", re.MULTILINE)
_BY_TEXT = {label.text: label for concept in CONCEPTS for label in concept.labels}
_SILENT = Label("nothing at all", lambda _: 0)


class ConceptScript:
    """Explains by the label that an explainer is to get, and simulates every label exactly."""

    def reply(self, prompt_text: str) -> str:
        """Return the label of the concept that fits the excerpts of the last neuron."""
        excerpts = _last_excerpts(prompt_text)
        if not excerpts:
            return _SILENT.text
        neuron = max(range(len(CONCEPTS)), key=lambda each: sum(_fits(each, pairs) for pairs in excerpts))
        return label_of(neuron, len(excerpts)).text

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        """Return what a label simulates, and 0 for any other explanation."""
        return _BY_TEXT.get(explanation.strip(), _SILENT).digits(tokens)


def _last_excerpts(prompt: str) -> list[list[tuple[str, str]]]:
    """Return the excerpts of the last neuron as pairs of token and activation."""
    block = prompt[max(0, prompt.rfind("\nExcerpt 1:")) :].split("\n\n")[0].split("Only where it fires:")[0]
    return [_PAIR.findall(part) for part in _EXCERPT.split(block)[1:]]


def _fits(neuron: int, pairs: list[tuple[str, str]]) -> int:
    """Return at how many tokens of an excerpt, which is a whole sequence, a neuron is as active as shown."""
    planned = CONCEPTS[neuron].activations([token for token, _ in pairs])
    shown = [int(digit) for _, digit in pairs]
    return sum(int(10 * value / STRONG) == digit for value, digit in zip(planned, shown, strict=True))


def write_concepts_study(
    folder: Path, *, base_url: str, sequences: int = 2000, documents: int = 900, labels: int = LABELS
) -> Path:
    """Write `studies/concepts.toml` below `folder`, with model and text beside it, and return its path.

    It has an explainer for each of the first `labels` labels.
    """
    save(folder / "model")
    texts = folder / "text"
    texts.mkdir(parents=True)
    for number, text in enumerate(concept_texts(documents, seed=1)):
        (texts / f"{number:04}.txt").write_bytes(text.encode())
    study = folder / "studies" / "concepts.toml"
    study.parent.mkdir()
    names = [f"label_{number}" for number in range(1, labels + 1)]
    explainers = "\n".join(
        f'[explainers.{name}]\nkind = "token_pairs"\nexcerpts = {number}\nexcerpt_tokens = {WINDOW}'
        for number, name in enumerate(names, start=1)
    )
    study.write_text(
        f'''
description = "A tiny model whose neurons follow known concepts"
[subject]
model = "{(folder / "model").as_posix()}"
dtype = "float32"
layers = 1
neurons_per_layer = {len(CONCEPTS)}
[corpus]
files = "{texts.as_posix()}/*.txt"
sequences = {sequences}
sequence_length = {WINDOW}
[llm]
provider = "openai"
model = "{MODEL}"
base_url = "{base_url}"
prompt_style = "chat"
{explainers}
[simulators.all_at_once]
explainers = {names}
[scoring]
sequences_per_split = 5
'''.replace("'", '"'),
        encoding="utf-8",
    )
    return study
