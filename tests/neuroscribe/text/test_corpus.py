import polars as pl
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from neuroscribe.errors import CorpusError
from neuroscribe.study.spec import CorpusSpec
from neuroscribe.testing.planted import END_OF_TEXT, planted_corpus, planted_tokenizer
from neuroscribe.text.corpus import (
    Corpus,
    Document,
    TokenBytes,
    token_matrix,
    tokenised,
    vocabulary,
)
from neuroscribe.text.token_bytes import TokenizerFacts, tokenizer_facts

BYTE_LEVEL = tokenizer_facts(planted_tokenizer())
LETTERS = TokenizerFacts(
    encode=lambda text: [ord(letter) - 97 for letter in text],
    token_bytes=tuple(bytes([97 + letter]) for letter in range(26)),
    special_ids=frozenset(),
    identity="letters",
)
PIECES = st.lists(st.sampled_from([" red", "<script>", "\x00", "\n", "\t", "\u200f"]) | st.text(), min_size=6)
HOSTILE = "<script>alert(1)</script>\n\ta\x00b\u200fשלום\u202e 🐈\ufeff red <|endoftext|>\r\n"


def spec(sequences: int, length: int, seed: int = 0) -> CorpusSpec:
    return CorpusSpec(files="texts/*.txt", sequences=sequences, sequence_length=length, seed=seed)


def cut(
    texts: list[str], sequences: int, length: int, *, seed: int = 0, tokenizer: TokenizerFacts = LETTERS
) -> Corpus:
    documents = [Document(f"text {number}", text) for number, text in enumerate(texts)]
    return tokenised(documents, tokenizer, spec(sequences, length, seed))


def words(corpus: Corpus) -> list[str]:
    """Each sequence of the letter tokenizer as text, in order."""
    return ["".join(chr(97 + token) for token in row) for row in corpus.sequences["token_ids"].to_list()]


def test_a_document_of_whole_windows_is_cut_without_a_rest() -> None:
    assert sorted(words(cut(["abcdefgh"], 2, 4))) == ["abcd", "efgh"]


def test_windows_adjoin_from_a_seeded_offset() -> None:
    found = {tuple(sorted(words(cut(["abcdefghi"], 2, 4, seed=seed)))) for seed in range(20)}
    assert found == {("abcd", "efgh"), ("bcde", "fghi")}


def test_windows_never_cross_documents() -> None:
    corpus = cut(["aaaabbbb", "ccccdddd", "eee", "fff"], 4, 4)
    assert sorted(words(corpus)) == ["aaaa", "bbbb", "cccc", "dddd"]


def test_documents_read_and_too_short_ones_are_counted() -> None:
    corpus = cut(["aaaa", "bbb", "", "cccc"], 2, 4)
    assert corpus.documents >= 2
    assert corpus.too_short == corpus.documents - 2


def test_the_same_tokens_are_taken_once_within_and_between_documents() -> None:
    corpus = cut(["aaaaaaaabbbb", "bbbbcccc"], 3, 4)
    assert sorted(words(corpus)) == ["aaaa", "bbbb", "cccc"]
    assert corpus.duplicates == 2


def test_ids_follow_the_order_and_sources_name_the_document() -> None:
    corpus = cut(["aaaabbbb", "ccccdddd"], 4, 4)
    assert corpus.sequences["sequence_id"].to_list() == [0, 1, 2, 3]
    for word, document, source in zip(
        words(corpus), corpus.sequences["document_id"], corpus.sequences["source"], strict=True
    ):
        assert document == (word in ("cccc", "dddd"))
        assert source == f"text {document}"


def test_the_order_follows_from_the_seed() -> None:
    texts = planted_corpus(8, seed=1)
    first, again, other = (
        cut(texts, 30, 16, seed=seed, tokenizer=BYTE_LEVEL).sequences for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_sequences_are_not_in_the_order_of_the_text() -> None:
    found = words(cut(["abcdefghijklmnopqrstuvwx"], 6, 4))
    assert sorted(found) == ["abcd", "efgh", "ijkl", "mnop", "qrst", "uvwx"]
    assert found != sorted(found)


def test_no_more_sequences_are_kept_than_the_study_asks_for() -> None:
    assert len(cut(["aaaabbbbccccdddd"], 3, 4).sequences) == 3


@settings(deadline=None, max_examples=60)
@given(
    st.lists(PIECES.map("".join), min_size=1),
    st.integers(2, 6),
    st.integers(0, 99),
)
def test_the_bytes_of_a_sequence_are_a_slice_of_its_document(
    texts: list[str], length: int, seed: int
) -> None:
    try:
        corpus = cut(texts, 1, length, seed=seed, tokenizer=BYTE_LEVEL)
    except CorpusError:
        reject()
    own = TokenBytes(corpus.sequences, corpus.vocabulary)[0]
    assert len(own) == length
    assert b"".join(own) in texts[corpus.sequences["document_id"][0]].encode()


def test_hostile_text_comes_back_byte_for_byte() -> None:
    ids = BYTE_LEVEL.encode(HOSTILE)
    corpus = cut([HOSTILE], 1, len(ids), tokenizer=BYTE_LEVEL)
    own = TokenBytes(corpus.sequences, corpus.vocabulary)[0]
    assert b"".join(own) == HOSTILE.encode()
    assert {b"<script>", b"\n", b"\t", b"\x00", "\u200f".encode()} <= set(own)
    assert END_OF_TEXT.encode() not in own


def test_the_vocabulary_lists_every_id_with_its_bytes() -> None:
    table = vocabulary(BYTE_LEVEL)
    assert table["token_id"].to_list() == list(range(len(BYTE_LEVEL.token_bytes)))
    place = BYTE_LEVEL.token_bytes.index(b"\xff")
    assert (table["bytes"][place], table["text"][place]) == (b"\xff", "\\xff")


def test_a_corpus_as_a_matrix_has_a_row_for_each_sequence() -> None:
    corpus = cut(["aaaabbbb"], 2, 4)
    matrix = token_matrix(corpus.sequences)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == corpus.sequences["token_ids"].to_list()
    assert TokenBytes(corpus.sequences, corpus.vocabulary).ids == dict(enumerate(matrix.tolist()))


def test_a_damaged_table_of_sequences_is_refused() -> None:
    sequences = cut(["aaaabbbb"], 2, 4).sequences
    with pytest.raises(CorpusError, match="corpus/sequences is damaged"):
        token_matrix(sequences.reverse())


@pytest.mark.parametrize("texts", [[], [""], [" \n", "\t"]])
def test_a_corpus_without_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(CorpusError, match=r"files texts/\*.txt\) holds no text; check its path"):
        cut(texts, 1, 4)


def test_documents_shorter_than_one_sequence_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"no document .* has 4 tokens; lower corpus.sequence_length"):
        cut(["abc", "abc"], 1, 4)


def test_a_corpus_too_small_for_the_study_is_refused_with_both_numbers() -> None:
    with pytest.raises(CorpusError, match=r"gives 2 different sequences of 4 tokens, .* asks for 3; lower"):
        cut(["aaaabbbbaaaa"], 3, 4)


def test_a_seeded_quarter_of_the_documents_is_held_out_with_all_its_sequences() -> None:
    texts = [letter * 4 + letter * 3 + "z" for letter in "abcdefgh"]
    corpus = cut(texts, 16, 4).sequences
    sides = corpus.group_by("document_id").agg(pl.col("held_out").n_unique())
    assert sides["held_out"].unique().to_list() == [1]
    held_out = corpus.filter("held_out")["document_id"].unique().to_list()
    assert len(held_out) == 2
    others = (cut(texts, 16, 4, seed=seed).sequences for seed in range(9))
    assert len({tuple(sorted(each.filter("held_out")["document_id"].unique())) for each in others}) > 1
