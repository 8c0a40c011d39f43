import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from neuroscribe.errors import SubjectError
from neuroscribe.text.token_bytes import display, token_bytes, tokenizer_facts

LINES = ["the cat sat on the mat", "<script>alert('the mat')</script>", "été, naïve, 日本語の文 😀😀"]
HOSTILE = [
    "",
    "<script>alert(1)</script>",
    "line\nbreak\r\n\ttab",
    "\x00 nul \x1b[31m control \x7f",
    "\u202eright to left\u200f שלום",
    "😀👩‍👩‍👧 e\u0301 日本語",
    "text that says <|end|> is text",
    "   many   spaces   ",
]


def byte_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.add_tokens([AddedToken("été  ", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def sentence_piece() -> PreTrainedTokenizerFast:
    """A tokenizer of Llama's make: spaces as U+2581, unknown characters as bytes."""
    vocabulary = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "c", "a", "t", "\u2581c"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: n for n, token in enumerate(vocabulary)},
            merges=[("\u2581", "c")],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def joined(tokenizer: PreTrainedTokenizerFast, text: str) -> bytes:
    facts = tokenizer_facts(tokenizer)
    return b"".join(facts.token_bytes[index] for index in facts.encode(text))


BYTE_LEVEL = byte_level()
SENTENCE_PIECE = sentence_piece()


@pytest.mark.parametrize("tokenizer", [BYTE_LEVEL, SENTENCE_PIECE], ids=["byte-level", "sentence-piece"])
@pytest.mark.parametrize("text", HOSTILE)
def test_the_bytes_of_an_encoded_text_are_the_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert joined(tokenizer, text) == text.encode()


@given(st.text())
def test_no_text_loses_a_byte(text: str) -> None:
    facts = FACTS

    assert b"".join(facts.token_bytes[index] for index in facts.encode(text)) == text.encode()


FACTS = tokenizer_facts(BYTE_LEVEL)


def test_every_byte_has_a_token_of_its_own() -> None:
    assert {bytes([byte]) for byte in range(256)} <= set(token_bytes(BYTE_LEVEL))


def test_added_tokens_stand_for_themselves() -> None:
    added = BYTE_LEVEL.convert_tokens_to_ids("été  ")

    assert token_bytes(BYTE_LEVEL)[added] == "été  ".encode()
    assert joined(BYTE_LEVEL, "un été  chaud") == "un été  chaud".encode()


def test_text_that_looks_like_a_special_token_stays_text() -> None:
    assert not FACTS.special_ids & set(FACTS.encode("<|end|>"))
    assert {FACTS.token_bytes[index] for index in FACTS.special_ids} == {b"<|end|>"}


def test_others_who_use_the_tokenizer_do_not_change_the_facts() -> None:
    before = FACTS.encode("the cat <|end|>")
    BYTE_LEVEL("the cat <|end|>", truncation=True, max_length=2)

    assert FACTS.encode("the cat <|end|>") == before


def test_sentence_piece_tokens_have_their_spaces_and_bytes_back() -> None:
    table = token_bytes(SENTENCE_PIECE)

    assert table[1 + 0xE9] == b"\xe9"
    assert table[SENTENCE_PIECE.convert_tokens_to_ids("\u2581c")] == b" c"


def test_word_pieces_are_given_a_space_before_each_word() -> None:
    vocabulary = {"[UNK]": 0, "play": 1, "##ing": 2}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece(prefix="##")

    assert token_bytes(PreTrainedTokenizerFast(tokenizer_object=tokenizer))[1:] == (b" play", b"ing")


def test_ids_without_a_token_have_no_bytes() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "c": 2}, unk_token="a"))

    assert token_bytes(PreTrainedTokenizerFast(tokenizer_object=tokenizer)) == (b"a", b"", b"c")


def test_an_unknown_way_of_decoding_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    tokenizer.decoder = decoders.CTC()

    with pytest.raises(SubjectError, match="decodes by CTC"):
        token_bytes(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def test_a_tokenizer_without_a_fast_form_is_refused() -> None:
    with pytest.raises(SubjectError, match="object has no fast form"):
        token_bytes(object())


def test_the_same_tokenizer_has_the_same_identity_and_another_has_another() -> None:
    assert tokenizer_facts(byte_level()).identity == FACTS.identity
    assert tokenizer_facts(SENTENCE_PIECE).identity != FACTS.identity


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (b" cat", " cat"),
        ("日".encode(), "日"),
        (b"\xe6\x97", r"\xe6\x97"),
        (b"a\xffb", r"a\xffb"),
        (b"\n", "\n"),
        (b"", ""),
    ],
)
def test_valid_text_is_shown_as_it_is_and_other_bytes_in_hexadecimal(token: bytes, shown: str) -> None:
    assert display(token) == shown
