from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from neuroscribe.errors import CorpusError
from neuroscribe.study.spec import CorpusSpec
from neuroscribe.testing.planted import END_OF_TEXT, planted_corpus, planted_tokenizer
from neuroscribe.text.corpus import (
    Corpus,
    TokenBytes,
    check_documents,
    token_matrix,
    tokenised,
    vocabulary,
)
from neuroscribe.text.documents import Document, held_out
from neuroscribe.text.token_bytes import TokenizerFacts, tokenizer_facts

BYTE_LEVEL = tokenizer_facts(planted_tokenizer())
LETTERS = TokenizerFacts(
    encode=lambda text: [ord(letter) - 97 for letter in text],
    token_bytes=tuple(bytes([97 + letter]) for letter in range(26)),
    special_ids=frozenset(),
    identity="letters",
)
NUMBERS = TokenizerFacts(
    encode=lambda text: [int(number) for number in text.split()],
    token_bytes=(b"0",),
    special_ids=frozenset(),
    identity="numbers",
)
SENTENCES = ("the cat and the red dog in the fog", "a red storm is in Paris and it is on")
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


def shared_runs(corpus: Corpus) -> set[tuple[int, ...]]:
    """Runs of 13 tokens that are in more than one sequence."""
    found = Counter(
        run
        for tokens in corpus.sequences["token_ids"].to_list()
        for run in {tuple(tokens[place : place + 13]) for place in range(len(tokens) - 12)}
    )
    return {run for run, count in found.items() if count > 1}


def numbered(document: int, tokens: int) -> str:
    """A text for NUMBERS in which no token comes twice, nor in another document."""
    return " ".join(str(1000 * document + place) for place in range(tokens))


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
    assert corpus.folded in (1, 2)  # of those looked at before there were three


def test_a_copied_document_is_left_out_and_counted_whatever_its_white_space() -> None:
    copies = [SENTENCES[0], SENTENCES[1], f"\r\n{SENTENCES[0]} ", SENTENCES[0].replace(" ", "\t")]
    corpus = cut(copies, 2, 8, tokenizer=BYTE_LEVEL)
    assert (corpus.documents, corpus.copied_documents) == (4, 2)
    assert set(corpus.sequences["document_id"]) == {0, 1}


def test_of_documents_twice_no_two_sequences_share_a_run_of_13_tokens() -> None:
    texts = planted_corpus(300, seed=3)
    corpus = cut([*texts, *texts], 300, 64, tokenizer=BYTE_LEVEL)
    assert (corpus.documents, corpus.copied_documents) == (600, 300)
    assert corpus.sequences["document_id"].n_unique() == 300
    assert not shared_runs(corpus)


def test_passages_that_come_again_in_other_documents_are_folded() -> None:
    """Each document holds one of 40 texts between words of its own, so that no two are copies."""
    texts = planted_corpus(40, seed=3)
    others = planted_corpus(160, seed=4)
    mixed = [f"{other[:50]} {texts[n % 40]} {other[-50:]}" for n, other in enumerate(others)]
    corpus = cut(mixed, 60, 32, tokenizer=BYTE_LEVEL)
    assert corpus.copied_documents == 0
    assert corpus.folded > 10
    assert not shared_runs(corpus)


@pytest.mark.parametrize(("shared", "kept"), [(13, 1), (12, 2)])
def test_a_window_is_folded_from_13_tokens_in_a_row_on(shared: int, kept: int) -> None:
    passage = "abcdefghijklm"[:shared]
    texts = [f"{passage}{'n' * (20 - shared)}", f"{'o' * (20 - shared)}{passage}"]
    if kept == 2:
        assert len(cut(texts, 2, 20).sequences) == 2
    else:
        with pytest.raises(CorpusError, match=r"0 documents are copies of others, 1 sequences repeat a"):
            cut(texts, 2, 20)


def test_a_second_sequence_of_a_document_is_taken_only_after_one_of_every_other() -> None:
    texts = [numbered(document, 16 * 5) for document in range(50)]
    for sequences in (20, 50, 130):
        taken = cut(texts, sequences, 16, tokenizer=NUMBERS).sequences["document_id"].value_counts()["count"]
        assert len(taken) == min(sequences, 50)
        assert taken.max() - taken.min() <= 1


def test_500_long_documents_give_2000_sequences_of_500_documents() -> None:
    texts = [str(document) for document in range(500)]
    long = replace(NUMBERS, encode=lambda text: list(range(6400 * int(text), 6400 * (int(text) + 1))))
    corpus = cut(texts, 2000, 64, tokenizer=long)
    assert corpus.sequences["document_id"].n_unique() == 500
    assert corpus.sequences.group_by("document_id").len()["len"].to_list() == [4] * 500
    starts = corpus.sequences["token_ids"].list.first() % 6400
    assert starts.n_unique() > 60  # of the 100 places that a window can have
    tokens = corpus.sequences["token_ids"].explode()
    assert tokens.n_unique() == len(tokens)  # no two windows overlap


def test_documents_are_not_looked_into_when_there_are_enough_sequences() -> None:
    corpus = cut(planted_corpus(40, seed=1), 5, 16, tokenizer=BYTE_LEVEL)
    assert (corpus.documents, corpus.tokenised) == (40, 5)


def test_a_quarter_of_the_documents_is_held_out_with_all_its_sequences() -> None:
    corpus = cut(planted_corpus(200, seed=1), 600, 16, tokenizer=BYTE_LEVEL)
    by_document = corpus.sequences.group_by("document_id").agg(pl.col("held_out").unique())
    assert (by_document["held_out"].list.len() == 1).all()
    assert 35 <= by_document["held_out"].list.first().sum() <= 65


def test_a_document_stays_held_out_when_others_come() -> None:
    few, many = held_out(range(100), seed=7), held_out(range(1000), seed=7)
    assert few == {document for document in many if document < 100}
    assert held_out(range(1000), seed=8) != many


def test_of_two_documents_one_is_held_out_and_a_single_one_is_not() -> None:
    assert {len(held_out([3, 5], seed=seed)) for seed in range(50)} == {1}
    assert not held_out([3], seed=1)
    assert {len(held_out(range(3), seed=seed)) for seed in range(200)} == {1, 2}


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
    assert matrix.dtype == np.int64
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


def test_sequences_of_too_few_documents_to_hold_any_back_are_refused() -> None:
    texts = [numbered(document, 30) for document in range(10)]
    check_documents(cut(texts, 10, 15, tokenizer=NUMBERS))
    with pytest.raises(
        CorpusError, match=r"12 sequences are of 9 different documents; at least 10 are needed"
    ):
        check_documents(cut(texts[:9], 12, 15, tokenizer=NUMBERS))


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
