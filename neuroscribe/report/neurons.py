"""Neurons as a report shows them: described, with what the score is worth and where they peak."""

from collections.abc import Iterable, Sequence

from neuroscribe.report.described import Described
from neuroscribe.report.excerpts import Excerpt
from neuroscribe.report.lines import NOTHING, interval, wrapped
from neuroscribe.report.summary import Summary
from neuroscribe.tables.columns import RECOGNISABLE
from neuroscribe.text.escaping import escaped


def recognised_neurons(summary: Summary, width: int) -> list[str]:
    """Return the neurons that a person recognises, or say that there is none."""
    if not summary.recognised:
        return wrapped(
            "No neuron of this run is explained: no description is clearly better than other neurons'"
            " explanations, and far enough above them. The best follow below.",
            width,
        )
    count = len(summary.recognised)
    head = "One neuron that is" if count == 1 else f"{count} neurons that are"
    order = "first those whose text names where they peak (the token between « and »)"
    return [
        *wrapped(f"{head} explained, {order}", width),
        *neuron_lines(summary.recognised, width),
    ]


def recognisable_neurons(summary: Summary, width: int) -> list[str]:
    """Return the others that were drawn because their tokens predict them."""
    if not summary.recognisable:
        return []
    return [
        *wrapped(
            "Further recognisable neurons: drawn among those that their tokens predict, to show what success"
            " looks like; they are in no mean",
            width,
        ),
        *neuron_lines(summary.recognisable, width),
    ]


def random_neurons(summary: Summary, width: int) -> tuple[list[str], list[str]]:
    """Return the best and the worst of the random sample, without those that were shown."""
    first = [*wrapped(f"Best of the random sample{_further(summary)}, by {summary.scorer}", width)]
    last = [*wrapped(f"Worst of the random sample, by {summary.scorer}", width)]
    return (
        [*first, *(neuron_lines(summary.best, width) or ["  none"])],
        [*last, *(neuron_lines(summary.worst, width) or ["  none"])],
    )


def _further(summary: Summary) -> str:
    return ", beside those above" if summary.recognised else ""


def neuron_lines(neurons: Iterable[Described], width: int) -> list[str]:
    """Return each neuron in a few lines; hostile text is escaped."""
    lines: list[str] = []
    for item in neurons:
        lines += wrapped(f"  {_place(item)}", width)
        lines += wrapped(_said(item), width, indent="      ")
        lines += wrapped(_worth(item), width, indent="      ")
        lines += _output(item, width)
        for excerpt in item.excerpts:
            lines += wrapped(excerpt_line(excerpt), width, indent="        ")
    return lines


def _place(item: Described) -> str:
    drawn = f", {RECOGNISABLE}" if item.sample == RECOGNISABLE else ""
    return f"layer {item.layer}, neuron {item.neuron}, polarity {item.polarity:+d}{drawn}: {item.status}"


def _said(item: Described) -> str:
    if item.text is None:
        return f"no description: {item.why}"
    return escaped(item.text.encode())


def _worth(item: Described) -> str:
    bounds = interval(vars(item)).strip(NOTHING)
    author = "a language model" if item.by_llm else "no language model"
    by = f"; by {escaped((item.explainer or '').encode())}, {author}" if item.explainer else ""
    return f"{item.how_good}{f', interval {bounds}' if bounds else ''}{by} ({escaped(item.why.encode())})"


def _output(item: Described, width: int) -> Sequence[str]:
    if item.output_text is None:
        return []
    score = "" if item.output_score is None else f" (told by it in {100 * item.output_score:.0f} %)"
    return wrapped(f"what it does: {escaped(item.output_text.encode())}{score}", width, indent="      ")


def excerpt_line(excerpt: Excerpt) -> str:
    """Return an excerpt with its peak marked."""
    before, peak, after = (escaped(part) for part in excerpt.marked())
    opening, closing = "" if excerpt.starts else "...", "" if excerpt.ends else "..."
    return f"{excerpt.activation:.3g}: {opening}{before}«{peak}»{after}{closing}"
