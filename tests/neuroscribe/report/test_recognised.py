"""A report begins with neurons whose text names what a person sees marked."""

import pytest

from neuroscribe.report.described import Described
from neuroscribe.report.excerpts import Excerpt, excerpt
from neuroscribe.report.recognised import names_its_peaks, recognised


def neuron(text: str | None, *peaks: str | bytes, score: float = 0.5, by_llm: bool = True) -> Described:
    """A neuron that is explained by a text, and peaks at words of one sentence each."""
    unknown = dict.fromkeys(("ci_low", "ci_high", "ceiling", "control", "output_text", "output_score"))
    return Described(
        layer=0, neuron=0, polarity=1, sample="random", status="explained", text=text, by_llm=by_llm,
        explainer="token_summary", why="the only text", score=score, n_controls=0, **unknown,
        excerpts=tuple(_seen(peak) for peak in peaks),
    )  # fmt: skip


def _seen(peak: str | bytes) -> Excerpt:
    return excerpt([b"The", peak.encode() if isinstance(peak, str) else peak, b" fell"], 1, 1.0)


@pytest.mark.parametrize(
    ("text", "peaks"),
    [
        ("words for rain: rain, snow", (" rain", " Snow", " wind")),
        ("beginning and ending: began, ends", (" begins", " begin", " ended")),
        ("years: 1848, 1871", (" 1848", " 1871")),
        ('opening brackets: "("', (" (", "(", "[")),
        ("北京市の駅", ("北京",)),
        ("नदी के नाम", (" नदी",)),
    ],
)
def test_a_text_names_most_of_the_words_at_which_its_neuron_peaks_or_forms_of_them(
    text: str, peaks: tuple[str, ...]
):
    assert names_its_peaks(neuron(text, *peaks))


@pytest.mark.parametrize(
    ("text", "peaks"),
    [
        ("processes and periods: period, main, threads", (" parallel", " periodically", " parallel")),
        ("weather", (" rain", " snow")),
        ("words for rain", (" rain", " snow")),  # half are not most
        ("words for rain and snow", (" forest", " Andes")),
        ("the names of rivers", (" there", " they")),
        ("नदी के नाम", (" हिन्दी", " पानी")),
        ("a list: a, b", ("(", ",")),
        ("weather", (b"\xe6",)),  # a part of a character
        ("weather", ()),
        (None, (" rain",)),
    ],
)
def test_a_text_that_names_other_words_does_not(text: str | None, peaks: tuple[str | bytes, ...]):
    assert not names_its_peaks(neuron(text, *peaks))


@pytest.mark.parametrize(
    ("text", "peaks", "named"),
    [
        ('the ends of the phrases "bordered by", "made by"', (" by", " by", " by"), True),
        ('the ends of the phrases "bordered by", "made by"', (" bordered", " phrases"), False),
        ('the ends of the phrases "and baggage/freight", "xenon ("', (" freight", " ("), True),
        ('the tokens "C" (10), "L" (9)', (" C", " L", "C"), True),
        ('the tokens "C" (10), "L" (9)', ("10", "9", " token"), False),
        ('the tokens "\\n", "\\"", "("', (' "', " (", "x"), True),
        ("sailing and ships", (" ships",), True),  # a label of others quotes nothing
    ],
)
def test_of_a_list_what_it_quotes_is_named_and_of_a_phrase_its_end(
    text: str, peaks: tuple[str, ...], *, named: bool
):
    assert names_its_peaks(neuron(text, *peaks, by_llm=False)) == named


def test_the_named_come_first_by_score_and_others_fill_the_places_that_are_left():
    other, best = neuron("weather", " rain", score=0.9), neuron("rain", " rain", score=0.8)
    second, last = neuron("snow", " snow", score=0.7), neuron("weather", " snow", score=0.6)
    assert recognised([other, best, second, last]) == (best, second, other)
    assert recognised([other, last]) == (other, last)
    assert recognised([]) == ()
