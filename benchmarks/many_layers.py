"""A study of a subject with many small layers of random weights, as files."""

from pathlib import Path

from neuroscribe.testing.planted import CONTEXT, planted_corpus, planted_tokenizer
from neuroscribe.testing.planted_study import MODEL
from neuroscribe.testing.random_subjects import NEURONS, random_subject

NAME = "many_layers"
DOCUMENTS, SEQUENCES, EXPLAINED = 120, 300, 2


def write_many_layers(folder: Path, *, layers: int, base_url: str) -> Path:
    """Write model, text and study below `folder` and return the study's path."""
    tokenizer = planted_tokenizer()
    model = random_subject("gpt2", n_layer=layers, vocab_size=len(tokenizer), n_positions=CONTEXT)
    for part in (model, tokenizer):
        part.save_pretrained(folder / "model")
    texts, study = folder / "text", folder / "studies" / f"{NAME}.toml"
    texts.mkdir()
    for number, text in enumerate(planted_corpus(DOCUMENTS, seed=1)):
        (texts / f"{number:04}.txt").write_bytes(text.encode())
    study.parent.mkdir()
    study.write_text(
        f'''
description = "Many small layers"
[subject]
model = "{(folder / "model").as_posix()}"
dtype = "float32"
layers = {layers}
neurons_per_layer = {NEURONS}
[corpus]
files = "{texts.as_posix()}/*.txt"
sequences = {SEQUENCES}
sequence_length = 16
[sample]
neurons_per_layer = {EXPLAINED}
[llm]
provider = "openai"
model = "{MODEL}"
base_url = "{base_url}"
prompt_style = "chat"
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
