import base64
import io
import re
from html import unescape
from typing import Any

import numpy as np
import polars as pl
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from neuroscribe.report.excerpts import excerpt
from neuroscribe.report.pictures import (
    activation_statistics_png,
    data_uri_markdown,
    exemplar_preview,
    literal,
    score_histogram_png,
    token_preview,
)
from neuroscribe.tables.records import NEURON_RECORDS, SCORES, STATISTICS
from neuroscribe.testing.rows import filled, lookup_table

HOSTILE = (
    "<script>alert(1)</script> &amp; **bold** _it_ `code` ~~x~~ | cell | # head\n- item\r\n\t> quote"
    " [link](javascript:alert(1)) ![i](data:x) \u202egnp.exe\u200f\x00 $x$ \\ www.example.org me@example.org"
    " https://example.org/ 🌧 été"
)
"""Every kind of text that a page might take for more than text."""


def scores(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {"scorer": "correlation_all_at_once", "chosen": True}
    values = {"value": 0.5, "ceiling": 0.6, "control": 0.0}
    return filled(SCORES, *(usual | values | given for given in rows))


def records(*rows: dict[str, Any]) -> pl.DataFrame:
    return filled(NEURON_RECORDS, *({"peak": 5.0, "peak_position": 1} | given for given in rows))


def statistics(neurons: int) -> pl.DataFrame:
    size = np.linspace(0.0, 5.0, neurons).tolist()
    return filled(
        STATISTICS,
        *({"max": s, "min": -s, "fraction_positive": s / 5, "dead": s == 0} for s in size),
    )


def rendered(markdown: str) -> str:
    """Return the HTML that a renderer with GitHub's tables and strike-through makes of it."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)


def seen(html: str) -> str:
    """Return the letters that a reader of the HTML sees."""
    return unescape(re.sub("<[^>]*>", "", html))


def colours(png: bytes) -> set[tuple[int, ...]]:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    found = image.getcolors(image.width * image.height)
    assert found is not None
    return {colour for _, colour in found if isinstance(colour, tuple)}


@pytest.mark.parametrize(
    "png",
    [
        score_histogram_png(scores({"value": 0.1}, {"value": 0.7}, {"value": None})),
        score_histogram_png(scores(*({"scorer": f"correlation_{n}"} for n in range(6)))),
        score_histogram_png(scores({"value": None, "ceiling": None, "control": None})),
        score_histogram_png(scores({"split": "valid"})),
        activation_statistics_png(statistics(1536)),
        activation_statistics_png(statistics(1)),
    ],
    ids=["scores", "many scorers", "all undefined", "no scores", "a layer", "a dead layer"],
)
def test_charts_are_small_opaque_images_of_one_size(png: bytes):
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size) == ("PNG", (640, 360))
    assert "transparency" not in image.info
    assert len(png) < 40_000


def test_charts_are_the_same_bytes_every_time():
    assert score_histogram_png(scores()) == score_histogram_png(scores())


def test_a_chart_shows_only_chosen_explanations_on_test_in_the_main_regime():
    shown = score_histogram_png(scores({"value": 0.5}))
    others = ({"split": "valid"}, {"regime": "top_and_random"}, {"regime": "random_only"}, {"chosen": False})
    assert (
        score_histogram_png(scores({"value": 0.5}, *({**other, "value": 0.9} for other in others))) == shown
    )


def test_scores_that_are_none_over_the_corpus_are_shown_by_the_first_regime_that_they_have():
    judged = {"scorer": "detection_auc", "regime": "top_and_random"}
    assert score_histogram_png(scores(judged)) != score_histogram_png(scores({"split": "valid"}))
    both = score_histogram_png(scores(judged, {**judged, "regime": "random_only", "value": 0.9}))
    assert both == score_histogram_png(scores(judged))


def test_a_chart_marks_the_mean_ceiling_and_control():
    near = [(8, 81, 156), (213, 94, 0), (85, 85, 85)]
    found = colours(score_histogram_png(scores({"value": 0.4, "ceiling": 0.7, "control": -0.2})))
    for wanted in near:
        assert min(sum(abs(a - b) for a, b in zip(wanted, colour, strict=True)) for colour in found) < 30


def test_a_charts_marks_are_means_over_explanations_that_have_a_score():
    scored = {"value": 0.4, "ceiling": 0.7, "control": -0.2}
    one = score_histogram_png(scores(scored, {"value": None, "ceiling": None, "control": None}))
    assert score_histogram_png(scores(scored, {"value": None, "ceiling": 0.1, "control": 0.9})) == one


def test_an_image_travels_inside_the_markdown():
    markdown = data_uri_markdown(b"\x89PNG", "scores of [layer] 3")
    encoded = base64.b64encode(b"\x89PNG").decode()
    assert markdown.endswith(f"](data:image/png;base64,{encoded})")
    assert 'alt="scores of [layer] 3"' in rendered(markdown)


def test_hostile_text_is_shown_letter_for_letter_and_means_nothing():
    html = rendered(literal(HOSTILE.encode()))
    assert re.findall("<[^>]*>", html) == ["<p>", "</p>"]
    shown = seen(html).replace("\u2060", "").strip()
    escapes = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"} | {
        character: f"\\u{ord(character):04x}" for character in "\u202e\u200f\x00"
    }
    assert shown == "".join(escapes.get(character, character) for character in HOSTILE)


def test_addresses_in_a_text_do_not_become_links():
    shown = unescape(literal(b"https://a.org www.b.org me@c.org"))
    assert not re.search(r"https?://\w|www\.|@\w", shown)


def test_the_preview_marks_the_peak_with_its_activation_among_its_context():
    tokens = {0: [b"The", b" rain", b" fell", b"."]}
    html = rendered(exemplar_preview(records({"peak": 5.25}), tokens))
    assert "<p>Neuron 0, polarity +1</p>" in html
    assert "<li><code>5.25</code> The «<strong>rain</strong>» fell.</li>" in html


@pytest.mark.parametrize(
    "peak", [b"|", b"<b>", b"  ", b" a", b"a ", b"_", b"\n", b"\xff", "雨".encode(), b"**"]
)
def test_every_kind_of_peak_is_bold_wherever_it_stands(peak: bytes):
    for before, after in ((b"x", b"x"), (b"*", b"*"), (b" ", b" "), (b"", b"")):
        html = rendered(exemplar_preview(records({}), {0: [before, peak, after]}))
        assert html.count("<strong>") == 1
        assert set(re.findall(r"</?(\w+)", html)) == {"p", "ul", "li", "code", "strong"}


def test_the_preview_shows_the_first_neurons_that_fire_and_their_best_sequences():
    found = records(
        {"neuron": 4, "rank": 1, "peak": 2.0},
        {"neuron": 4, "rank": 0, "peak": 3.0},
        {"neuron": 4, "rank": 2, "peak": 1.0},
        {"neuron": 2, "peak": 0.0},
        {"neuron": 3, "polarity": -1, "peak": -7.0},
        {"neuron": 3, "kind": "random", "peak": 9.0},
        {"neuron": 5},
    )
    shown = exemplar_preview(found, {0: [b"a", b"b"]}, neurons=2, per_neuron=2)
    assert re.findall(r"Neuron \d, polarity .\d|`[^`]*`", shown) == [
        "Neuron 3, polarity -1", "`-7`", "Neuron 4, polarity +1", "`3`", "`2`",
    ]  # fmt: skip


def test_a_layer_where_nothing_fires_says_so():
    assert exemplar_preview(records({"peak": 0.0}), {}) == "No neuron fires."


def test_an_excerpt_keeps_the_exact_bytes_around_the_peak():
    tokens = [bytes([n]) for n in range(200, 232)]
    shown = excerpt(tokens, 20, 1.5)
    assert (shown.before, shown.peak, shown.after) == (
        bytes(range(208, 220)),
        b"\xdc",
        bytes(range(221, 227)),
    )
    assert (shown.starts, shown.ends) == (False, False)
    assert (excerpt(tokens, 0, 1.5).starts, excerpt(tokens, 31, 1.5).ends) == (True, True)


def test_the_token_preview_shows_both_ends_of_the_first_neurons_letter_for_letter():
    table = pl.concat(lookup_table({0: 1.5, 1: -0.25}, neuron, count=5) for neuron in (2, 9))
    vocabulary = pl.DataFrame({"bytes": [b"<script>", b" *b"]})
    text = seen(rendered(token_preview(table, vocabulary, neurons=1, per_end=1)))
    assert "neuron 2, polarity +1, top: «<script>» 1.5" in text
    assert "neuron 2, polarity +1, bottom: « *b» -0.25" in text
    assert "neuron 9" not in text
    assert token_preview(table, vocabulary, at_least=6) == "No token occurs often enough."
