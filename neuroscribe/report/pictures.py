"""What Dagster's pages show of a layer: small PNG charts, and exemplars as Markdown that cannot do harm.

Charts bring their own white ground, so that they read the same on light and dark pages.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# matplotlib's types are partial
import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Float

from neuroscribe.evidence.lookup import extreme_tokens
from neuroscribe.report.excerpts import Excerpt, excerpts, firing
from neuroscribe.simulate.ranking import was_spared
from neuroscribe.study.dues import REGIMES
from neuroscribe.tables.columns import RANDOM, RECOGNISABLE
from neuroscribe.text.escaping import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT, _DPI = 6.4, 3.6, 100  # inches and dots per inch: 640 x 360 pixels
_INK, _BAR, _FAINT = "#222222", "#9ecae1", "#8a8a8a"
_MARKS = (
    ("value", "mean score", "#08519c", "-"),
    ("ceiling", "ceiling", "#d55e00", "--"),
    ("control", "control", "#555555", ":"),
)
_COLOURS = 64
_ROWS = 4
"""Distributions that fit into one chart."""
_BINS = np.linspace(-1, 1, 41)

_LINK_START = re.compile("//|www|@", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def score_histogram_png(scores: pl.DataFrame) -> bytes:
    """Return a chart of the test scores of chosen explanations of the random sample.

    Over the corpus where there are such; one row per scorer and explainer (the first four), with mean value,
    ceiling and control of those scored as lines.
    """
    places = dict(zip(REGIMES, range(len(REGIMES)), strict=True))
    first = pl.col("regime").replace_strict(places, default=len(REGIMES))
    shown = scores.filter((pl.col("split") == "test") & pl.col("chosen") & ~was_spared(), sample=RANDOM)
    shown = shown.filter(first == first.min().over("scorer")) if len(shown) else shown
    groups = shown.partition_by("scorer", "explainer", maintain_order=True)
    figure = _figure()
    rows = figure.subplots(max(1, min(_ROWS, len(groups))), 1, sharex=True, squeeze=False)[:, 0]
    for axes, group in zip(rows, groups, strict=False):
        _score_row(axes, group)
    if not groups:
        _say(rows[0], "no scores")
    rows[-1].set_xlim(-1, 1)
    left_out = f" ({len(groups) - _ROWS} more not shown)" if len(groups) > _ROWS else ""
    rows[-1].set_xlabel(f"score over the corpus, or over judged excerpts{left_out}")
    return _png(figure)


def descriptions_png(descriptions: pl.DataFrame) -> bytes:
    """Return a chart of what descriptions score against what the tokens alone reach, with their controls.

    A mark a neuron at its ceiling and score, hollow for recognisable ones; a line leads down to the mean of
    other neurons' explanations. On the diagonal a description is worth as much as the tokens alone.
    """
    figure = _figure()
    axes = figure.subplots()
    known = descriptions.drop_nulls(["score", "ceiling"])
    axes.plot([-1, 1], [-1, 1], color=_FAINT, linewidth=0.6)
    for sample, filled in ((RANDOM, True), (RECOGNISABLE, False)):
        rows = known.filter(sample=sample)
        marks = rows.drop_nulls("control")
        axes.vlines(marks["ceiling"], marks["control"], marks["score"], color=_FAINT, linewidth=0.8)
        axes.scatter(marks["ceiling"], marks["control"], marker="_", color=_INK, s=30)
        colour = _MARKS[0][2]
        axes.scatter(
            rows["ceiling"], rows["score"], s=26, edgecolors=colour, linewidths=1.2,
            facecolors=colour if filled else "white", label=sample if len(rows) else None, zorder=3,
        )  # fmt: skip
    axes.set_xlabel("ceiling: what the tokens alone reach")
    axes.set_ylabel("score of the description", fontsize=9)
    _plain(axes)
    if len(known):
        axes.set_xlim(min(0.0, known["ceiling"].to_numpy().min()) - 0.05, 1)
        axes.set_ylim(min(0.0, known.select(pl.min_horizontal("score", "control").min()).item()) - 0.05, 1)
        axes.legend(loc="upper left", frameon=False, fontsize=8)
    else:
        _say(axes, "no description has a score")
    return _png(figure)


def activation_statistics_png(statistics: pl.DataFrame) -> bytes:
    """Return a chart of a layer's neurons: how high they reach, and how often they are positive."""
    figure = _figure()
    reach, share = figure.subplots(1, 2)
    dead = int(statistics["dead"].sum())
    figure.suptitle(f"{len(statistics):,} neurons, {dead:,} dead", fontsize=10, color=_INK)
    _reach(reach, statistics["max"].to_numpy(), -statistics["min"].to_numpy())
    positive = statistics["fraction_positive"].to_numpy()
    share.hist(positive, bins=[n / 40 for n in range(41)], color=_BAR, edgecolor="white", linewidth=0.3)
    share.set_xlim(0, 1)
    share.set_xlabel("share of activations above zero")
    for axes in (reach, share):
        _plain(axes)
        axes.set_ylabel("neurons")
    return _png(figure)


def data_uri_markdown(png: bytes, alt: str) -> str:
    """Return Markdown that shows an image without a file."""
    return f"![{literal(alt.encode())}](data:image/png;base64,{base64.b64encode(png).decode()})"


def exemplar_preview(
    records: pl.DataFrame,
    tokens_by_sequence: Mapping[int, Sequence[bytes]],
    *,
    neurons: int = 3,
    per_neuron: int = 3,
) -> str:
    """Return Markdown with the top exemplars of a layer's first neurons that fire, peak tokens bold."""
    groups = firing(records, per_neuron=per_neuron).partition_by("neuron", "polarity", maintain_order=True)
    blocks = [
        "\n".join(
            [
                f"Neuron {group['neuron'][0]}, polarity {group['polarity'][0]:+d}",
                "",
                *(f"- {excerpt_markdown(shown)}" for shown in excerpts(group, tokens_by_sequence)),
            ]
        )
        for group in groups[:neurons]
    ]
    return "\n\n".join(blocks) or "No neuron fires."


def token_preview(
    table: pl.DataFrame, vocabulary: pl.DataFrame, *, neurons: int = 3, per_end: int = 8, at_least: int = 5
) -> str:
    """Return Markdown with the tokens on which a layer's first neurons have the largest and smallest means.

    `table` is a layer's TOKEN_LOOKUP; tokens that occur fewer than `at_least` times are left out.
    """
    first = table["neuron"].unique(maintain_order=True)[:neurons]
    shown = table.filter(pl.col("neuron").is_in(first.implode()))
    extremes = extreme_tokens(shown, count=per_end, at_least=at_least)
    tokens: list[bytes] = vocabulary["bytes"].to_list()
    lines = [
        f"- neuron {rows['neuron'][0]}, polarity {rows['polarity'][0]:+d}, {rows['end'][0]}: "
        + " · ".join(
            f"«{literal(tokens[token])}» `{mean:.3g}`" for token, mean in rows["token_id", "mean"].iter_rows()
        )
        for rows in extremes.partition_by("neuron", "polarity", "end", maintain_order=True)
    ]
    return "\n".join(lines) or "No token occurs often enough."


def corpus_preview(
    sequences: pl.DataFrame, tokens_by_sequence: Mapping[int, Sequence[bytes]], *, count: int = 6
) -> str:
    """Return Markdown with the first of a corpus's sequences, in their random order, with documents."""
    shown = sequences.select("sequence_id", "document_id", "source").head(count)
    return "\n".join(
        f"- sequence {sequence} of document {document} ({literal(source.encode())}):"
        f" «{literal(b''.join(tokens_by_sequence[sequence]))}»"
        for sequence, document, source in shown.iter_rows()
    )


def literal(text: bytes) -> str:
    """Return text as Markdown that shows it letter for letter, on one line.

    Control and format characters become backslash escapes, everything but letters, digits and spaces becomes
    a character reference, and an invisible word joiner keeps addresses from becoming links.
    """
    broken = _LINK_START.sub(lambda match: match[0] + _WORD_JOINER, escaped(text))
    return "".join(
        character if character == " " or character.isalnum() else f"&#{ord(character)};"
        for character in broken
    )


def excerpt_markdown(shown: Excerpt) -> str:
    """Return an excerpt as Markdown with its peak bold; the marks beside it make that sure in any text."""
    before, peak, after = (literal(part) for part in shown.marked())
    opening, closing = "" if shown.starts else "…", "" if shown.ends else "…"
    return f"`{shown.activation:.3g}` {opening}{before}«**{peak}**»{after}{closing}"


def _score_row(axes: "Axes", group: pl.DataFrame) -> None:
    scored = group.drop_nulls("value")
    values = scored["value"].to_numpy()
    # What explains less than nothing has no least value; it stands in the first bin.
    axes.hist(values.clip(-1, 1), bins=_BINS.tolist(), color=_BAR, edgecolor="white", linewidth=0.3)
    axes.axvline(0, color=_FAINT, linewidth=0.6)
    for column, name, colour, style in _MARKS:
        known = scored[column].drop_nulls()
        if len(known):
            mean = float(np.mean(known.to_numpy()))
            axes.axvline(
                max(-1.0, mean), color=colour, linestyle=style, linewidth=1.8, label=f"{name} {mean:.2f}"
            )
    _plain(axes)
    axes.locator_params(axis="y", nbins=3, integer=True)
    counted = f"{len(values)} scored, {group['value'].null_count()} undefined"
    title = f"{group['scorer'][0]} of {group['explainer'][0]}: {counted}"
    axes.set_title(title, loc="left", fontsize=9, color=_INK)
    if len(values):
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    else:
        _say(axes, "no score is defined")


def _reach(axes: "Axes", high: Float[np.ndarray, " neuron"], low: Float[np.ndarray, " neuron"]) -> None:
    """Draw the distributions of the largest activation and of the size of the smallest, on a log scale."""
    reached = np.concatenate([high[high > 0], low[low > 0]])
    axes.set_xlabel("extreme activation (size)")
    if not len(reached):
        _say(axes, "no neuron fires")
        return
    low_end, high_end = float(reached.min()), float(reached.max())
    bins = list(np.geomspace(low_end, max(high_end, low_end * 1.1), 41))
    axes.hist(high[high > 0], bins=bins, color=_BAR, edgecolor="white", linewidth=0.3, label="largest")
    if (low > 0).any():
        axes.hist(low[low > 0], bins=bins, histtype="step", color="#d55e00", label="smallest")
        axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.set_xscale("log")


def _figure() -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained", facecolor="white")


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def _say(axes: "Axes", words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=_FAINT)


def _png(figure: "Figure") -> bytes:
    """Return the drawn figure with a palette of few colours, a quarter of the size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    small = io.BytesIO()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    drawn.quantize(_COLOURS, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
    return small.getvalue()
