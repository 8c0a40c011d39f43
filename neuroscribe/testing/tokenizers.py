"""Tiny real tokenizers: every byte is a token, and the merges and special tokens asked for come on top."""

from collections.abc import Sequence
from typing import Any

SPECIAL = ("<|begin|>", "<|end|>", "<|turn|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def byte_tokenizer(
    merges: Sequence[str] = (), *, begins: bool = False, chat: bool = False, spaced: bool = False
) -> Any:
    """Return a Hugging Face tokenizer with 256 bytes, then the merges, then `SPECIAL` as its vocabulary.

    A merge names the text of a longer token, which is made of its first part as it stands and its last
    character. With `begins` the tokenizer puts its first special token before every text; `spaced` ones
    put a space that is not there before it, as SentencePiece does.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(spelled(merge[:-1]), spelled(merge[-1])) for merge in merges]
    names = [*alphabet, *(first + last for first, last in pairs)]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer: Any = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    if spaced:
        tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.add_special_tokens(list(SPECIAL))
    if begins:
        begin = (SPECIAL[0], tokenizer.token_to_id(SPECIAL[0]))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{SPECIAL[0]} $A", special_tokens=[begin]
        )
    tokens = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[1])
    tokens.chat_template = CHAT_TEMPLATE if chat else None
    return tokens


def spelled(text: str) -> str:
    """Return text as vocabularies hold it, in which a printable character stands for each byte."""
    from tokenizers import pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(piece for piece, _ in level.pre_tokenize_str(text))
