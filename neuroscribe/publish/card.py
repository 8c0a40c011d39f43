"""The dataset card: what a dataset holds, column by column, in words that are declared elsewhere."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neuroscribe.glossary import COUNTS, WORDS
from neuroscribe.publish.draft import FOLDER_CHECKSUMS, DatasetFolder
from neuroscribe.study.sections import EncoderSpec, ModelSpec
from neuroscribe.study.spec import Study
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.tables.records import Table

UNKNOWN = "not recorded here; see its publisher"

TEXT_LICENCES = {
    "wikipedia-leads-en": (
        "CC BY-SA 4.0; lead paragraphs of English Wikipedia by its authors, cut into tokens"
    ),
}
"""Texts that the shipped studies use; their words are in the dataset, which inherits their licence."""

_CARD_LICENCES = {
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "CC BY 4.0": "cc-by-4.0",
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
}


@dataclass(frozen=True)
class Credit:
    """Whose work went into a dataset, and under which licence."""

    part: str
    """What it is here: text, subject, llm or encoder."""
    name: str
    licence: str


def credits_of(study: Study, licences: Mapping[str, str]) -> list[Credit]:
    """Return the text and the models of a study with their licences, as far as they are known."""
    known = {**TEXT_LICENCES, **licences}
    corpus = study.corpus.artefact or "own files"
    models: list[tuple[str, ModelSpec | EncoderSpec]] = [("subject", study.subject), ("llm", study.llm)]
    if study.simulator_llm:
        models.append(("simulator_llm", study.simulator_llm))
    if study.paraphraser_llm:
        models.append(("paraphraser_llm", study.paraphraser_llm))
    models += [("encoder", encoder) for encoder in study.encoders]
    credits = [Credit("text", corpus, known.get(corpus, UNKNOWN))]
    for part, spec in models:
        licence = known.get(spec.artefact or "", known.get(spec.model, UNKNOWN))
        credits.append(Credit(part, spec.model, licence))
    return list(dict.fromkeys(credits))


def dataset_card(
    study: Study,
    tables: Sequence[Table],
    *,
    counts: Mapping[str, int],
    credits: Sequence[Credit],
    folders: Sequence[DatasetFolder] = (),
    units: UnitKind = MLP_NEURONS,
) -> str:
    """Return the README of a dataset: Markdown with YAML front matter; `units` says what a neuron is."""
    model = _plain(study.subject.title)
    words = {**WORDS, "neuron": units.sentence}
    numbers = [(name, str(counts[name]), meaning) for name, meaning in COUNTS.items() if name in counts]
    licences = [(credit.part, credit.name, credit.licence) for credit in credits]
    return "\n".join(
        [
            *_front_matter(study, tables, credits),
            "",
            f"# Neurons of {model}, explained and scored",
            "",
            _plain(study.description),
            "",
            f"Study `{study.name}`; the subject has {study.subject.layers} layers of"
            f" {study.subject.neurons_per_layer} neurons. What is undefined is null, never 0.",
            "",
            *_section("How it was made", _making(study)),
            *_section("Numbers", _rows(("number", "count", "meaning"), numbers)),
            *_section("Reading it", _READING),
            *(_section("Other layouts", _layouts(folders)) if folders else []),
            *[line for table in tables for line in _table(table)],
            *_section("Words", [f"- **{word}**: {sentence}" for word, sentence in words.items()]),
            *_section("Licences", _rows(("part", "name", "licence"), licences)),
        ]
    )


_READING = [
    "Each table is a folder of Parquet files under `data/`, one file per layer where rows belong to layers:",
    "",
    "```python",
    "import polars as pl",
    "",
    'scores = pl.read_parquet("data/scores/*.parquet")',
    'headline = scores.filter(pl.col("chosen"), split="test", regime="corpus")',
    "```",
    "",
    "`manifest.json` lists every file with its rows, bytes and SHA-256, and repeats the columns below;"
    " `sha256sum -c checksums.txt` checks the files. Edges of the histograms and levels of the quantiles"
    " stand there under `provenance`, and in the metadata of every Parquet file.",
]


def _making(study: Study) -> list[str]:
    """Return what a reader must know of the settings; the manifest has them all."""
    subject, corpus, capture = study.subject, study.corpus, study.capture
    prefix = f"after the token {subject.prefix_token!r}" if subject.prefix_token else "with no token before"
    kinds = {"Explainers": study.explainers, "Simulators": study.simulators, "Scorers": study.scorers}
    named = {
        word: ", ".join(f"{name} ({spec.kind_name})" for name, spec in specs.items())
        for word, specs in kinds.items()
    }
    lines = [
        f"Subject: {subject.model} ({subject.copy_of_weights}) in {subject.dtype}.",
        f"Text: {corpus.sequences:,} sequences of {corpus.sequence_length} tokens, seed {corpus.seed},"
        f" each read {prefix}.",
        f"Kept of every neuron: the {capture.top_k} sequences with the largest peaks per polarity"
        f" ({capture.polarities}), and exemplars from {capture.random_sequences} random sequences.",
        f"Explained: {study.sample.neurons_per_layer} neurons in each of {len(study.sampled_layers)} layers,"
        f" polarity {study.sample.polarity}, seed {study.sample.seed}.",
        f"Language model: {study.llm.model} ({study.llm.provider}).",
        *(f"{word}: {names}." for word, names in named.items() if names),
        f"Scored over {study.scored_text} from {study.scoring.sequences} drawn sequences each, weighted by"
        " their strata (simulators that cost nothing: from all); beside it the regimes of Bills et al."
        f" 2023, from {study.scoring.sequences_per_split} top and as many random sequences.",
        f"Calibration of simulated values: {study.scoring.calibration} (without one there is no r2 and no"
        " deviation).",
        "Made with Neuroscribe; all settings stand in `manifest.json` under `study`.",
    ]
    return [f"- {_plain(line)}" for line in lines]


def _layouts(folders: Sequence[DatasetFolder]) -> list[str]:
    """Return what lies beside the tables, which the manifest lists by folder."""
    rows = [(f"`{folder.path}/`", str(folder.files), folder.description) for folder in folders]
    return [
        "Each folder holds the checksums of its files; call"
        f" `sha256sum -c {FOLDER_CHECKSUMS}` in it. `checksums.txt` checks that list.",
        "",
        *_rows(("folder", "files", "what they are"), rows),
    ]


def _front_matter(study: Study, tables: Sequence[Table], credits: Sequence[Credit]) -> list[str]:
    licence = next(credit.licence for credit in credits if credit.part == "text")
    known = [name for phrase, name in _CARD_LICENCES.items() if licence.startswith(phrase)]
    lines = [
        "---",
        f"license: {known[0] if known else 'other'}",
        f"pretty_name: {json.dumps(f'Neurons of {_plain(study.subject.title)}')}",
        "tags: [interpretability, neurons]",
        "configs:",
    ]
    for table in tables:
        pattern = f"data/{table.name}/*.parquet" if table.per_layer else f"data/{table.name}.parquet"
        lines += [f"- config_name: {table.name.replace('/', '_')}", f'  data_files: "{pattern}"']
    return [*lines, "---"]


def _table(table: Table) -> list[str]:
    where = f"data/{table.name}/layer_NN.parquet" if table.per_layer else f"data/{table.name}.parquet"
    columns = [
        (f"`{column.name}`", f"`{column.dtype}`", "yes" if column.nullable else "no", column.description)
        for column in table.columns
    ]
    key = ", ".join(f"`{name}`" for name in table.key)
    return _section(
        f"Table {table.name}",
        [
            f"{table.description} Files: `{where}`. One row per {key}.",
            "",
            *_rows(("column", "type", "may be null", "meaning"), columns),
        ],
    )


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _rows(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a Markdown table."""
    cells = [header, ("---",) * len(header), *rows]
    return [f"| {' | '.join(_plain(cell).replace('|', '&#124;') for cell in row)} |" for row in cells]


def _plain(text: str) -> str:
    """Return text on one line that starts no HTML."""
    return " ".join(text.split()).replace("<", "&lt;")
