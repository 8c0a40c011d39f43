"""The in-process simulator: one masked pass over many sequences gives what separate questions would."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.llm.local import LocalLLM
from neuroscribe.ports.replies import Simulated
from neuroscribe.simulate.all_at_once import (
    AllAtOnce,
    HiddenLines,
    LocalLayout,
    LocalSimulator,
    places_in_words,
)
from neuroscribe.simulate.prompts import (
    ASKING,
    DIGITS,
    QUESTION,
    asked_beginning,
    asked_opening,
    hidden_beginning,
    hidden_opening,
)
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.tokenizers import byte_tokenizer

EXPLANATION = "words for colours"
TOKENS = (b" red", b"\n", b"<|end|>", b" red", "\u200f".encode(), b" the", b"\xff")
SEQUENCES = (
    TOKENS,
    (b"\t",),
    (b" a", b" green", b" tree", b" and", b" a", b" blue", b" sky", b"."),
    TOKENS[:2],
)
LAYOUTS: tuple[LocalLayout, ...] = ("asked", "hidden")


def model_of(family: str = "llama", dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    sizes = {"vocab_size": 300, "max_position_embeddings": 4096, "n_positions": 4096}
    known = {name: size for name, size in sizes.items() if name != "n_positions" or family == "gpt2"}
    return random_subject(family, **known | changes).to(dtype)


def llm_of(model: Any, *, merges: Sequence[str] = (), **options: Any) -> LocalLLM:
    return LocalLLM(model, byte_tokenizer(merges), identity="tiny", **options)


@pytest.fixture(scope="module")
def llm() -> LocalLLM:
    return llm_of(model_of())


def simulated(simulator: LocalSimulator, sequences: Sequence[Sequence[bytes]]) -> list[Simulated]:
    return asyncio.run(simulator.simulate(EXPLANATION, sequences))


def plain_value(model: Any, ids: Sequence[int]) -> float:
    """Read a digit with the model itself: no cache, no mask, no batch; digits are byte tokens."""
    digits = [byte_tokenizer().encode(digit)[0] for digit in DIGITS]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, -1]
    read = logits.double().softmax(-1)[digits]
    return float(read @ torch.arange(10.0).double() / read.sum()) * 10 / 9


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_each_question_is_answered_as_if_it_were_the_only_one(family: str) -> None:
    model = model_of(family)
    found = simulated(LocalSimulator(llm_of(model)), SEQUENCES)

    encode = byte_tokenizer().encode
    for tokens, reading in zip(SEQUENCES, found, strict=True):
        texts = [*map(shown, tokens)]
        before = asked_beginning() + asked_opening(EXPLANATION) + "".join(texts) + ASKING
        for text, activation in zip(texts, reading.activations, strict=True):
            ids = encode(before + text + QUESTION, split_special_tokens=True)
            assert activation == pytest.approx(plain_value(model, ids), abs=1e-4)


def test_equal_tokens_may_get_different_values_where_places_are_asked_about() -> None:
    model, tokens = model_of(), (b" a", b" re", b"b", b"c", b" d", b" re")
    by_token = simulated(LocalSimulator(llm_of(model)), [tokens])[0].activations
    by_place = simulated(LocalSimulator(llm_of(model), questions="places"), [tokens])[0].activations

    assert by_token[1] == by_token[5]
    assert by_place[1] != by_place[5]
    before = asked_beginning("places") + asked_opening(EXPLANATION) + " a rebc d re" + ASKING
    for words, place in ((" a re", 1), ("bc d re", 5)):
        ids = byte_tokenizer().encode(before + words + QUESTION, split_special_tokens=True)
        assert by_place[place] == pytest.approx(plain_value(model, ids), abs=1e-4)


def test_a_place_is_named_by_the_words_before_it_more_where_others_read_the_same() -> None:
    assert places_in_words(["The", " Bank", " of", " Kent"]) == [
        "The", "The Bank", "The Bank of", "The Bank of Kent",
    ]  # fmt: skip
    twice = places_in_words(list("xabcdyabcd"))
    assert twice[4] == "xabcd"
    assert twice[9] == "yabcd"
    assert twice[8] == "yabc"
    assert len(set(places_in_words(["a"] * 30))) == 9, "a run of equal tokens is told apart at its beginning"


def test_questions_about_places_are_another_simulator_and_those_about_tokens_the_same_as_before() -> None:
    llm = llm_of(model_of())
    assert "asked prompt v3" in LocalSimulator(llm).identity
    assert "places prompt v1" in LocalSimulator(llm, questions="places").identity
    who = {"explainers": ["token_list"]}
    assert "questions" not in AllAtOnce.model_validate(who).model_dump()
    assert AllAtOnce.model_validate(who | {"questions": "places"}).model_dump()["questions"] == "places"
    with pytest.raises(ValueError, match='take out layout = "hidden"'):
        AllAtOnce.model_validate(who | {"questions": "places", "layout": "hidden"})


def test_each_hidden_value_is_read_as_if_its_line_were_the_last() -> None:
    model = model_of()
    found = simulated(LocalSimulator(llm_of(model), layout="hidden"), SEQUENCES)

    for tokens, reading in zip(SEQUENCES, found, strict=True):
        prompt, places = prompt_with_places(tokens)
        for place, activation in zip(places, reading.activations, strict=True):
            ids = byte_tokenizer().encode(prompt[:place], split_special_tokens=True)
            assert activation == pytest.approx(plain_value(model, ids), abs=1e-4)


def test_a_tokenizer_that_merges_across_lines_leaves_the_hidden_slots_where_they_are() -> None:
    merging = byte_tokenizer(("e\t", "\t?", "?\n", " r", " re", "9\n"))
    layout = HiddenLines(lambda text: merging.encode(text, split_special_tokens=True))
    tokens = (b" re", b"e", b"?", b"\n", b" re")

    row, slots = layout.row(tokens)

    assert [row.tokens[row.slots[slot]] for slot in slots] == merging.encode("\t") * len(tokens)
    assert merging.decode(row.tokens) == " re\t?\ne\t?\n?\t?\n\\n\t?\n re\t"
    assert [merging.decode(row.tokens[: row.slots[slot]]) for slot in slots][1] == " re\t?\ne"
    assert len(merging.encode("e\t?\n")) < len(merging.encode("e")) + 1 + len(merging.encode("?\n"))


def test_a_tab_in_an_explanation_is_no_slot() -> None:
    layout = HiddenLines(byte_tokenizer().encode)
    assert byte_tokenizer().decode(layout.opening("a\tb")) == hidden_opening("a\tb")
    assert byte_tokenizer().decode(layout.beginning()) == hidden_beginning()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "within"), [(torch.float32, 1e-4), (torch.float16, 0.02), (torch.bfloat16, 0.05)]
)
def test_a_sequence_is_read_alike_alone_and_beside_others(
    layout: LocalLayout, dtype: torch.dtype, within: float
) -> None:
    simulator = LocalSimulator(llm_of(model_of(dtype=dtype)), layout=layout)
    together = simulated(simulator, SEQUENCES)

    for tokens, reading in zip(SEQUENCES, together, strict=True):
        (alone,) = simulated(simulator, [tokens])
        assert reading.activations == pytest.approx(alone.activations, abs=within)
        assert reading.valid_fraction == pytest.approx(alone.valid_fraction, rel=within)
        assert reading.usage == alone.usage


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_stands_beside_a_sequence_is_not_seen_by_it(llm: LocalLLM, layout: LocalLayout) -> None:
    simulator = LocalSimulator(llm, layout=layout)
    lengths = (b" one", b" two", b" six")
    (beside, _), (other, _) = (simulated(simulator, [lengths, [word] * 6]) for word in (b" xyz", b" uvw"))

    assert beside == other


@pytest.mark.parametrize("layout", LAYOUTS)
def test_small_batches_read_what_large_ones_do(layout: LocalLayout) -> None:
    model = model_of()
    large, small = (llm_of(model, batch_places=places) for places in (4096, 1))

    apart = [simulated(LocalSimulator(one, layout=layout), SEQUENCES) for one in (large, small)]

    for one, other in zip(*apart, strict=True):
        assert one.activations == pytest.approx(other.activations, abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_asked_before_changes_no_bit(llm: LocalLLM, layout: LocalLayout) -> None:
    fresh = simulated(LocalSimulator(llm_of(model_of()), layout=layout), SEQUENCES)
    used = LocalSimulator(llm, layout=layout)
    for explanation in ("numbers", EXPLANATION, "a", "b", "c", "d", "e"):
        asyncio.run(used.simulate(explanation, [TOKENS[:3], TOKENS]))

    assert simulated(used, SEQUENCES) == fresh
    assert simulated(used, SEQUENCES) == fresh


def test_a_token_that_recurs_is_asked_about_once(llm: LocalLLM) -> None:
    once, twice = simulated(LocalSimulator(llm), [TOKENS, [*TOKENS, b" red"]])

    assert twice.activations[0] == twice.activations[3] == twice.activations[-1]
    assert twice.usage.prompt_tokens == once.usage.prompt_tokens + len(" red")


def test_the_prefix_is_counted_as_cached(llm: LocalLLM) -> None:
    (found,) = simulated(LocalSimulator(llm), [(b" ab", b" c", b" ab")])

    shared = len((asked_beginning() + asked_opening(EXPLANATION)).encode())
    own = len(" ab c ab" + ASKING) + len(" ab" + QUESTION + " c" + QUESTION)
    assert (found.usage.cached_tokens, found.usage.prompt_tokens) == (shared, shared + own)
    assert found.usage.completion_tokens == 0


def test_values_run_from_0_to_9_and_are_stretched_to_10() -> None:
    tokenizer, model = byte_tokenizer(), model_of(tie_word_embeddings=False)
    nine = tokenizer.encode("9")[0]
    with torch.no_grad():
        # All states point into one direction, and so does the row of 9: nothing else is likely.
        model.model.norm.weight.zero_()
        model.lm_head.weight.zero_()
        head = torch.nn.Linear(model.config.hidden_size, 300)
        head.weight.zero_()
        head.bias.zero_()
        head.bias[nine] = 30
        model.set_output_embeddings(head)

    (found,) = simulated(LocalSimulator(llm_of(model)), [(b" a", b" b")])

    assert found.activations == pytest.approx((10.0, 10.0))
    assert found.valid_fraction == pytest.approx(1.0)


def test_a_tokenizer_without_a_token_for_each_digit_is_refused() -> None:
    class Spelling:
        eos_token_id = None

        def encode(self, text: str, **_: object) -> list[int]:
            return [token for byte in text.encode() for token in ((byte, 0) if byte < 58 else (byte,))]

    llm = LocalLLM(model_of(), Spelling(), identity="tiny")
    with pytest.raises(CapabilityError, match=r"tiny .* writes '0' as 2 tokens.*another model for \[llm\]"):
        LocalSimulator(llm)


def test_a_family_that_scales_and_caps_its_logits_is_read_as_it_answers() -> None:
    for family, changes in (
        ("cohere", {"logit_scale": 3.0}),
        ("granite", {"logits_scaling": 0.25}),
        ("gemma2", {"final_logit_softcapping": 0.01, "sliding_window": 4096}),
    ):
        model = model_of(family, **changes)
        (found,) = simulated(LocalSimulator(llm_of(model), layout="hidden"), [TOKENS])
        prompt, places = prompt_with_places(TOKENS)
        ids = byte_tokenizer().encode(prompt[: places[-1]], split_special_tokens=True)
        assert found.activations[-1] == pytest.approx(plain_value(model, ids), abs=1e-4), family


def test_attention_that_takes_no_positions_of_ours_is_refused_for_questions_and_read_by_lines() -> None:
    model = model_of("bloom")
    refusal = r'tiny .*cannot be asked about many tokens in one pass; set layout = "hidden"'
    with pytest.raises(CapabilityError, match=refusal):
        LocalSimulator(llm_of(model))

    (found,) = simulated(LocalSimulator(llm_of(model), layout="hidden"), [TOKENS])

    prompt, places = prompt_with_places(TOKENS)
    ids = byte_tokenizer().encode(prompt[: places[-1]], split_special_tokens=True)
    assert found.activations[-1] == pytest.approx(plain_value(model, ids), abs=1e-4)


def test_logits_that_are_scaled_in_a_way_we_do_not_know_are_refused() -> None:
    model = model_of()
    plain = model.forward

    def doubled(**given: Any) -> Any:
        output = plain(**given)
        output.logits = output.logits * 2
        return output

    model.forward = doubled
    with pytest.raises(CapabilityError, match=r"tiny .*\(log-probabilities off by"):
        LocalSimulator(llm_of(model))


def test_a_question_beyond_the_window_of_some_layers_is_refused_and_lines_are_read() -> None:
    model = model_of("mistral", sliding_window=64)
    with pytest.raises(LLMError, match=r'look back 64 tokens.*set layout = "hidden"'):
        simulated(LocalSimulator(llm_of(model)), [TOKENS])

    found = simulated(LocalSimulator(llm_of(model), layout="hidden"), [TOKENS, TOKENS[:3]])

    prompt, places = prompt_with_places(TOKENS)
    for place, activation in zip(places, found[0].activations, strict=True):
        ids = byte_tokenizer().encode(prompt[:place], split_special_tokens=True)
        assert activation == pytest.approx(plain_value(model, ids), abs=1e-4)


def test_a_model_whose_numbers_overflow_is_told_to_take_another_dtype() -> None:
    model = model_of()
    with torch.no_grad():
        model.lm_head.weight.mul_(torch.inf)
    with pytest.raises(LLMError, match=r"not finite; choose another dtype"):
        LocalSimulator(llm_of(model))


def test_the_two_layouts_are_told_apart(llm: LocalLLM) -> None:
    identities = {LocalSimulator(llm, layout=layout).identity for layout in LAYOUTS}
    assert len(identities) == 2
    assert all(
        re.match(r"tiny \(completion\); all at once, (asked|hidden) prompt v", one) for one in identities
    )


def prompt_with_places(tokens: Sequence[bytes]) -> tuple[str, list[int]]:
    """Return the paper's prompt and where its hidden values stand; no text is changed for servers."""
    text, places = hidden_beginning() + hidden_opening(EXPLANATION), list[int]()
    for token in tokens:
        text += f"{shown(token)}\t"
        places.append(len(text))
        text += "?\n"
    return text, places


def shown(token: bytes) -> str:
    """Spell out the escapes that these tests need."""
    return {b"\n": "\\n", b"\t": "\\t", "\u200f".encode(): "\\u200f", b"\xff": "\\xff"}.get(
        token, token.decode(errors="ignore")
    )
