"""A whole study around the planted subject, as files: model, text and the study's TOML."""

from pathlib import Path

from neuroscribe.testing.planted import LAYERS, NEURONS, planted_corpus, save

MODEL = "scripted"
"""Name under which the scripted server serves."""


def write_planted_study(
    folder: Path,
    *,
    base_url: str,
    sequences: int = 300,
    documents: int = 120,
    style: str = "chat",
    provider: str = "openai",
) -> Path:
    """Write `studies/planted.toml` below `folder`, with model and text beside it, and return its path."""
    save(folder / "model")
    texts = folder / "text"
    texts.mkdir(parents=True)
    for number, text in enumerate(planted_corpus(documents, seed=1)):
        (texts / f"{number:04}.txt").write_bytes(text.encode())
    study = folder / "studies" / "planted.toml"
    study.parent.mkdir()
    study.write_text(
        f'''
description = "A tiny model whose neurons are known"
[subject]
model = "{(folder / "model").as_posix()}"
dtype = "float32"
layers = {LAYERS}
neurons_per_layer = {NEURONS}
[corpus]
files = "{texts.as_posix()}/*.txt"
sequences = {sequences}
sequence_length = 16
[llm]
provider = "{provider}"
model = "{MODEL}"
base_url = "{base_url}"
prompt_style = "{style}"
[explainers.token_pairs]
excerpts = 5
excerpt_tokens = 16
[explainers.token_list]
[simulators.all_at_once]
explainers = ["token_pairs"]
''',
        encoding="utf-8",
    )
    return study
