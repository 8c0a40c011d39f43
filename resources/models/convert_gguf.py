"""Turns one GGUF file into a folder of bfloat16 safetensors that loads in a second.

Run as a program (`python -P convert_gguf.py SOURCE.gguf TARGET_FOLDER`), so that the several gigabytes that
dequantising takes are given back when it ends. It knows nothing of artefacts and imports nothing of ours.
"""

import sys
from pathlib import Path
from typing import Any

# Pre-tokenisers that split every digit off, which transformers leaves out when it reads a GGUF file.
DIGIT_SPLITTING = ("smollm",)
# Those that transformers was seen to rebuild rightly: it goes by the architecture and not by this name, so
# that any other may split otherwise than the model was trained with. SentencePiece has no such step.
UNKNOWN_RULES = 3  # what the program then ends with
REBUILT = ("default", "gpt-2", "qwen2", None)


def convert(source: Path, target: Path) -> None:
    """Write config, bfloat16 weights and tokenizer of `source` into the folder `target`, which must exist."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer(source).save_pretrained(target)
    model: Any = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16, trust_remote_code=False
    )
    # The weights are plain tensors by now, but transformers refuses to save what it calls quantised.
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    model.to(torch.bfloat16).save_pretrained(target)


def tokenizer(source: Path) -> Any:
    """Return the tokenizer of a GGUF file, splitting text as the file's own name of it demands."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    name = pre_tokenizer_name(source)
    if name not in (*DIGIT_SPLITTING, *REBUILT):
        sys.stderr.write(f"text is split by {name!r}, of which it is not known that the ids come out right")
        sys.exit(UNKNOWN_RULES)
    read: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
    if name in DIGIT_SPLITTING:
        backend = read.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    return read


def pre_tokenizer_name(source: Path) -> str | None:
    """Return what the file says of how its text is split before BPE."""
    from gguf import GGUFReader

    field = GGUFReader(source).get_field("tokenizer.ggml.pre")
    return str(field.contents()) if field is not None else None


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
