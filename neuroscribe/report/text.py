"""The report at the end of a run as plain text for a terminal: aligned columns, hostile text escaped."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.glossary import WORDS
from neuroscribe.measures.controls import CONTROLS
from neuroscribe.report.lines import NOTHING, interval, wrapped
from neuroscribe.report.neurons import random_neurons, recognisable_neurons, recognised_neurons
from neuroscribe.report.summary import Summary
from neuroscribe.report.twins import MOST_BEYOND, SideBySide
from neuroscribe.tables.statuses import EXPLANATION_STATUSES
from neuroscribe.text.escaping import escaped

Format = Callable[[Mapping[str, Any]], str]
"""Shows one value of a row."""


def aligned(
    frame: pl.DataFrame, columns: Mapping[str, Format], width: int, *, left: Collection[str] = ()
) -> list[str]:
    """Return the lines of a table, whose columns named in `left` begin at the left.

    Columns that do not fit go into a further block, after the first column again.
    """
    rows = list(frame.iter_rows(named=True))
    cells = {name: [name, *map(form, rows)] for name, form in columns.items()}
    padded = {name: _padded(column, left=name in left) for name, column in cells.items()}
    gap = "  " if _size(padded.values(), "  ") <= width else " "
    lines: list[str] = []
    for place, block in enumerate(_blocks(padded, width, gap)):
        lines += [""] if place else []
        lines += [gap.join(line).rstrip() for line in zip(*block, strict=True)]
    return lines


def _padded(column: Sequence[str], *, left: bool) -> list[str]:
    size = max(len(cell) for cell in column)
    return [cell.ljust(size) if left else cell.rjust(size) for cell in column]


def _size(columns: Iterable[Sequence[str]], gap: str) -> int:
    return len(gap.join(column[0] for column in columns))


def _blocks(padded: Mapping[str, Sequence[str]], width: int, gap: str) -> list[list[Sequence[str]]]:
    first, *others = padded.values()
    blocks = [[first]]
    for column in others:
        if len(blocks[-1]) == 1 or _size([*blocks[-1], column], gap) <= width:
            blocks[-1].append(column)
        else:
            blocks.append([first, column])
    return blocks


def shown(column: str, form: str, *, unknown: str = NOTHING) -> Format:
    """Show a value in a form of `str.format`."""
    return lambda row: unknown if row[column] is None else form.format(row[column])


def counted(column: str) -> Format:
    """Show a whole number with its thousands apart."""
    return shown(column, "{:,}")


def worded(column: str) -> Format:
    """Show a text, escaped."""
    return lambda row: NOTHING if row[column] is None else escaped(str(row[column]).encode())


def dollars(column: str) -> Format:
    """Show money."""
    return shown(column, "${:,.4f}")


def percent(column: str) -> Format:
    """Show a share."""
    return lambda row: NOTHING if row[column] is None else f"{100 * row[column]:.0f} %"


def report_text(summary: Summary, width: int, *, next_steps: Sequence[str] = ()) -> str:
    """Return the report in lines of at most `width` characters where words allow; tables are cut to fit.

    It begins with neurons that a person recognises. `next_steps` are the lines at its end that say what to
    type next.
    """
    parts = [
        [f"Study {escaped(summary.study.encode())}: {escaped(summary.subject.encode())}"],
        recognised_neurons(summary, width),
        [
            *wrapped(f"Descriptions by layer: {summary.scorer}, over {summary.scored_text}", width),
            *aligned(summary.layers, _LAYERS, width),
            f"{summary.neurons:,} neurons captured ({summary.captured_layers} layers), {summary.dead:,} dead",
            *_silent(summary.silent_layers, width),
            *wrapped(_how_many(summary), width),
            *wrapped(_compared(summary), width),
            *wrapped(_LEGEND, width),
        ],
        [
            *wrapped(f"Descriptions and explainers: {summary.scorer}, over {summary.scored_text}", width),
            *aligned(summary.explainers, _EXPLAINERS, width, left=("explainer",)),
        ],
        [
            "All scorers, test split",
            *aligned(summary.scorers, _SCORERS, width, left=_LEFT),
        ],
        _stability(summary.stability, width),
        _beside(summary.gaps, _GAPS, "gap", width),
        _beside(summary.gains, _GAINS, "gain", width),
        _twins(summary.twins, width),
        [
            *_set_aside(summary.set_aside, width),
            *_statuses(summary.statuses, width),
            *_null_reasons("No score", summary.null_reasons, width),
            *_null_reasons("Not read", summary.spared, width),
        ],
        recognisable_neurons(summary, width),
        *random_neurons(summary, width),
        [*(["What to type next"] if next_steps else []), *(f"  {step}" for step in next_steps)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _how_many(summary: Summary) -> str:
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.statuses_of_neurons.items())
    return f"Of the random sample: {counts or 'nothing'} (docs/scores.md says by which rules)."


_LEGEND = (
    f"Interval: 95 %, of the mean over neurons, from three on (the wider of t and bootstrap-t)."
    " null=0: the mean with undefined scores (nulls) counted as 0; that without them, in the column"
    " score, it is too far from 0, for they are mostly of explanations that say nothing."
    f" Ceiling: {WORDS['ceiling']}"
    f" Control: {WORDS['control']} Means are over scored explanations, that of the control over those that"
    " have one. Tokens: of the explanation calls."
    " Above: of those held against ten other neurons' explanations, how many are above all. Calls: of the"
    " LLM, for explanations and simulations; seconds: without the capture. Recognisable neurons are in no"
    " mean."
    f" {NOTHING}: unknown or undefined."
)


def _compared(summary: Summary) -> str:
    if not summary.compared:
        return (
            f"Clearly better than other neurons' explanations: unknown, for none has {CONTROLS} controls"
            f" (a layer needs {CONTROLS + 1} explained neurons or more)."
        )
    return (
        f"Clearly better than other neurons' explanations: {summary.clear} of {summary.compared}"
        f" descriptions, above all {CONTROLS} controls; of those so called one in twenty is wrongly called"
        " so."
    )


def _stability(table: pl.DataFrame, width: int) -> list[str]:
    """Say how far explanations from other exemplars of the same neurons are alike."""
    if table.is_empty():
        return []
    return ["Explained again from other exemplars", *aligned(table, _STABILITY, width, left=_LEFT)]


def _signed_interval(row: Mapping[str, Any]) -> str:
    if row["ci_low"] is None:
        return NOTHING
    return f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"


def _beside(table: pl.DataFrame, said: str, name: str, width: int) -> list[str]:
    """Set what was made of other explanations beside these."""
    if table.is_empty():
        return []
    columns: dict[str, Format] = {
        "scorer of explainer": _SCORERS["scorer of explainer"],
        "of": worded("of"),
        "scored": counted("n"),
        "score of it": shown("first", "{:.2f}"),
        "score": shown("own", "{:.2f}"),
        name: shown("difference", "{:+.3f}"),
        "one undefined": counted("undefined"),
        "95 %": _signed_interval,
    }
    return [*wrapped(said, width), *aligned(table, columns, width, left=(*_LEFT, "of"))]


_GAPS = (
    "Guard against sweet talk: what scores lose when another model puts the explanations in other words (gap:"
    " original less paraphrase). A gap whose interval lies above 0 is owed to words that only the study's"
    " models understand, or to paraphrases that say less."
)
_GAINS = (
    "Revised explanations, and their controls, beside those that they start from (gain: revised less first)."
    " A revision is worth what it gains beyond the controls."
)


def _above(row: Mapping[str, Any]) -> str:
    """Show how many are above all ten controls, of those that were held against ten."""
    return f"{row['above']}/{row['compared']}" if row["compared"] else NOTHING


def _difference(row: Mapping[str, Any]) -> str:
    if row["difference"] is None:
        return NOTHING
    return f"{row['difference']:+.2f}" + ("" if row["error"] is None else f" ± {row['error']:.2f}")


_LAYERS: Mapping[str, Format] = {
    "layer": shown("layer", "{}", unknown="all"),
    **{name: counted(name) for name in ("neurons", "dead", "explained", "scored")},
    "score": shown("score", "{:.2f}"),
    "interval": interval,
    **{name: shown(name, "{:.2f}") for name in ("ceiling", "control")},
    "above": _above,
    "nulls": counted("nulls"),
    "null=0": shown("score_or_0", "{:.2f}"),
    **{name: counted(name) for name in ("calls", "tokens")},
    "seconds": shown("seconds", "{:,.0f}"),
}
_EXPLAINERS: Mapping[str, Format] = {
    "explainer": worded("explainer"),
    "scored": counted("n"),
    **{name: shown(name, "{:.2f}") for name in ("score", "ceiling", "control")},
    "above": _above,
    "describes": counted("best"),
}
_SCORERS: Mapping[str, Format] = {
    "scorer of explainer": lambda row: f"{worded('scorer')(row)} of {worded('explainer')(row)}",
    "regime": worded("regime"),
    "scored": counted("n"),
    **{name: shown(name, "{:.2f}") for name in ("score", "ceiling", "control")},
    "nulls": counted("nulls"),
    "null=0": shown("score_or_0", "{:.2f}"),
}
_STABILITY: Mapping[str, Format] = {
    "scorer of explainer": _SCORERS["scorer of explainer"],
    **{name: counted(name) for name in ("neurons", "texts")},
    **{name: shown(name, "{:.2f}") for name in ("similarity", "score", "change")},
}
_TWINS: Mapping[str, Format] = {
    "scorer of explainer": _SCORERS["scorer of explainer"],
    "weights": worded("weights"),
    "scored": counted("n"),
    **{name: shown(name, "{:.2f}") for name in ("score", "control")},
    "score - control": _difference,
}
_SET_ASIDE = {"dead": "dead", "near_dead": "near-dead", "silent": "silent on the side to be explained"}
_LEFT = {"scorer of explainer", "regime"}


def _twins(twins: SideBySide | None, width: int) -> list[str]:
    """Set a study and its twin side by side, and warn where the twin's explanations seem to explain."""
    if twins is None:
        return []
    named = ", ".join(map(str, twins.layers))
    beyond = [
        f"{_SCORERS['scorer of explainer'](row)} ({_difference(row)})"
        for row in twins.beyond.iter_rows(named=True)
    ]
    told = (
        f"WARNING: with random weights the control is beaten by more than {MOST_BEYOND} by"
        f" {', '.join(beyond)}: as much of such a score says nothing about what the subject has learned."
        if beyond
        else f"With random weights no mean is above its control by more than {MOST_BEYOND}."
    )
    return [
        *wrapped(f"Trained ({twins.trained}) and random weights ({twins.randomised}): layers {named}", width),
        *aligned(twins.table, _TWINS, width, left=(*_LEFT, "weights")),
        *wrapped(f"{told} After ±: the standard error over explanations.", width),
    ]


def _silent(layers: Sequence[int], width: int) -> list[str]:
    """Say why layers have no explanation at all."""
    if not layers:
        return []
    named = f"layer {layers[0]}" if len(layers) == 1 else f"layers {', '.join(map(str, layers))}"
    return wrapped(f"All neurons of {named} are dead or near-dead: none can be explained.", width)


def _set_aside(counts: Mapping[str, int], width: int) -> list[str]:
    listed = ", ".join(f"{count:,} {_SET_ASIDE[reason]}" for reason, count in counts.items() if count)
    return wrapped(f"Set aside before any call: {listed}", width) if listed else []


def _statuses(statuses: pl.DataFrame, width: int) -> list[str]:
    lines: list[str] = []
    for row in statuses.iter_rows(named=True):
        counts = ", ".join(
            f"{row[name]:,} {name}" for name in EXPLANATION_STATUSES if row[name] or name == "ok"
        )
        lines += wrapped(f"Explanations by {worded('explainer')(row)}: {counts}", width)
    return lines


def _null_reasons(what: str, reasons: pl.DataFrame, width: int) -> list[str]:
    lines: list[str] = []
    for row in reasons.iter_rows(named=True):
        where = f"{worded('scorer')(row)} of {worded('explainer')(row)}"
        lines += wrapped(f"{what} by {where}: {row['n']:,} x {worded('null_reason')(row)}", width)
    return lines
