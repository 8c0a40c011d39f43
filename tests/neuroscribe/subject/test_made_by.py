from importlib.metadata import version

import torch

from neuroscribe.subject.made_by import made_by
from neuroscribe.subject.subject import Subject
from neuroscribe.text.token_bytes import TokenizerFacts


def test_what_made_activations_names_weights_machine_and_libraries():
    subject = Subject(
        model=None,
        tokenizer=TokenizerFacts(lambda _: [], (b"a",), frozenset(), identity="t"),
        name="m",
        revision="0f" * 20,
        dtype=torch.bfloat16,
        device=torch.device("cuda", 1),
    )
    made = made_by(subject)
    assert (made.weights, made.device, made.dtype) == ("0f" * 20, "cuda", "bfloat16")
    assert made.libraries["torch"] == version("torch")
    assert str(made).startswith(f"{'0f' * 20} in bfloat16 on cuda; numba ")
    assert f"transformers {version('transformers')}" in str(made)
