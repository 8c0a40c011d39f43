"""A trace as text for a terminal, from the score back to the text; whatever is hostile is escaped."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import polars as pl

from neuroscribe.report.lines import NOTHING, interval, wrapped
from neuroscribe.report.text import Format, aligned, counted, shown, worded
from neuroscribe.report.trace.tree import Materialised, Prompt, ReadSequence, Sent, Simulated, Trace
from neuroscribe.text.escaping import escaped

_TOKENS = 6
"""Tokens shown at most of a simulated sequence: where simulation or truth is largest, a tenth at least."""


def trace_text(trace: Trace, width: int) -> str:
    """Return a trace in sections, with lines of at most `width` characters but for prompts and replies."""
    sections: Mapping[str, Iterator[str]] = {
        "Description": _description(trace, width),
        "Scores of this explanation": _scores(trace, width),
        "Read by": _readings(trace, width),
        "Explanation": _explanation(trace, width),
        "Prompt": _prompts(trace.sent, width),
        "Raw reply": _replies(trace),
        "What the explainer saw": _exemplars(trace, width),
        "Documents": _documents(trace, width),
        "Corpus and subject": _sources(trace, width),
        "Tables": _tables(trace, width),
        "Runs": _runs(trace, width),
    }
    blocks = ["\n".join([f"== {title} ==", *lines]) for title, lines in sections.items()]
    return "\n\n".join([*_head(trace, width), *blocks]) + "\n"


def _head(trace: Trace, width: int) -> Iterator[str]:
    yield "\n".join(
        wrapped(
            f"Neuron {trace.neuron} of layer {trace.layer}, polarity {trace.polarity:+d}, in study"
            f" {trace.study}: {_said(trace.about)}",
            width,
        )
    )


def _description(trace: Trace, width: int) -> Iterator[str]:
    row = trace.description
    if row is None:
        yield "none: the neuron has no row in descriptions"
        return
    yield from wrapped(f"{_said(row['text'])}", width)
    yield from wrapped(f"status: {_said(row['status'])}; why this one: {_said(row['why'])}", width)
    yield from wrapped(f"score ({_said(row['scorer'])}, test, corpus): {_valued(row, 'score')}", width)
    if not trace.is_description:
        yield "what follows is behind another explanation of the neuron"


def _valued(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return NOTHING
    return (
        f"{row[name]:.3f}, 95 % {interval(row)}, ceiling {_number(row['ceiling'])}, control"
        f" {_number(row['control'])} of {row['n_controls']}, p {_number(row['p'])}"
    )


_SCORES: Mapping[str, Format] = {
    "scorer": worded("scorer"),
    "split": worded("split"),
    "regime": worded("regime"),
    "value": shown("value", "{:.3f}"),
    "95 %": interval,
    "ceiling": shown("ceiling", "{:.2f}"),
    "control": shown("control", "{:.2f}"),
    "of": counted("n_controls"),
    "p": shown("p", "{:.3f}"),
    "sequences": counted("n_sequences"),
    "unread": counted("n_unreadable"),
    "why none": worded("null_reason"),
}
_STAMPS: Mapping[str, Format] = {
    "table": worded("table"),
    "current": worded("current"),
    "identity": worded("identity"),
    "content": worded("content"),
    "inputs": worded("inputs"),
    "made by": worded("code_version"),
}
_TOKEN_ROWS: Mapping[str, Format] = {
    "token": lambda row: row["quoted"],
    "occurrences": counted("count"),
    "mean": shown("mean", "{:.3f}"),
    "shrunken": shown("shrunken_mean", "{:.3f}"),
}
_EFFECTS: Mapping[str, Format] = {
    "token": lambda row: row["quoted"],
    "kind": worded("kind"),
    "log-probability": shown("change", "{:+.3f}"),
}


def _scores(trace: Trace, width: int) -> Iterator[str]:
    if not trace.scores:
        yield "none: nothing scored it"
        return
    yield from aligned(_frame(trace.scores), _SCORES, width, left=("scorer", "split", "regime", "why none"))


def _readings(trace: Trace, width: int) -> Iterator[str]:
    if not (trace.simulations or trace.scored):
        yield "nothing: no simulator or scorer has rows of it"
    for each in trace.simulations:
        yield from _simulated(each, width)
    for each in trace.scored:
        model = ", ".join(map(_said, each.models)) or "no model"
        yield from wrapped(
            f"{each.scorer} ({each.table}) by {model}: {each.rows} rows, {each.controls} of controls"
            f"{_listed(each.statuses)}",
            width,
        )


def _simulated(each: Simulated, width: int) -> Iterator[str]:
    split = ", ".join(f"{count} of {name}" for name, count in each.sequences.items()) or "none"
    whole = "; its score over the corpus rests on all sequences, of which no rows are kept"
    yield from wrapped(
        f"{each.simulator} by {_said(each.model)}: sequences {split}, {each.controls} of controls"
        f"{_listed(each.statuses)}{whole if each.reads_whole_corpus else ''}",
        width,
    )
    for sequence in each.shown:
        yield from wrapped(_compared(sequence), width, indent="  ")


def _listed(statuses: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{count} {status}' for status, count in statuses.items())})" if statuses else ""


def _compared(each: ReadSequence) -> str:
    """Show the tokens of a sequence where its simulation, or the truth, is largest, in their order."""
    truth = each.true or (0.0,) * len(each.simulated)
    largest = max(truth, default=0.0) or 1.0
    weights = [
        max(value or 0.0, 10 * real / largest) for value, real in zip(each.simulated, truth, strict=True)
    ]
    places = sorted(sorted(range(len(weights)), key=lambda place: -weights[place])[:_TOKENS])
    places = [place for place in places if weights[place] >= 1] or places[:1]
    tokens = each.tokens if len(each.tokens) == len(weights) else ("?",) * len(weights)
    pairs = [
        f'"{tokens[place]}" {_number(each.simulated[place])}/'
        + (f"{truth[place]:.2f}" if each.true else NOTHING)
        for place in places
    ]
    return (
        f"sequence {each.sequence_id} ({each.split}, {each.status}), simulated 0..10/true: {', '.join(pairs)}"
    )


def _explanation(trace: Trace, width: int) -> Iterator[str]:
    row = trace.explanation
    yield from wrapped(f"{_said(row['text'])} ({row['status']})", width)
    if row["long_text"]:
        yield from wrapped(f"long: {_said(row['long_text'])}", width)
    if row["parts"]:
        yield from wrapped("read one by one: " + "; ".join(map(_said, row["parts"])), width)
    yield f"id {row['explanation_id']}"
    yield from wrapped(
        f"explainer {_said(row['explainer'])} (form {_said(row['form'])}), candidate {row['sample_index']},"
        f" draw {row['draw']}, half {row['half']}, sample {row['sample']}",
        width,
    )
    yield from wrapped(f"model {_said(row['model'])}", width)
    cost = NOTHING if row["cost_usd"] is None else f"${row['cost_usd']:.6f}"
    yield (
        f"tokens: {row['prompt_tokens']:,} sent ({row['cached_tokens']:,} cached),"
        f" {row['completion_tokens']:,} received; cost {cost}"
    )
    for other in trace.others:
        said = _said(other["text"]) if other["text"] is not None else other["status"]
        which = f", draw {other['draw']}" if other["draw"] else ""
        yield from wrapped(f"beside it {_said(other['explainer'])}{which}: {said}", width, indent="  ")


def _prompts(sent: Sent, width: int) -> Iterator[str]:
    if sent.note and not sent.prompts:
        yield from wrapped(sent.note, width)
        return
    where = "read from the call store" if sent.is_stored else ""
    hashed = "its hash is the stored one" if sent.is_verified else "WARNING: its hash is NOT the stored one"
    tables = {
        True: "the tables give the same prompt",
        False: "WARNING: the tables there now give another prompt",
        None: "not built anew from the tables",
    }[sent.is_rebuilt]
    yield from wrapped("; ".join(part for part in (where, hashed, tables, _said(sent.note)) if part), width)
    for prompt in sent.prompts:
        yield f"sha256 {prompt.sha256}"
        yield from wrapped(
            f"call {prompt.key}{_asked_for(prompt)}" if prompt.key else "no stored call", width
        )
        for role, content in prompt.messages:
            yield f"--- {_said(role)}"
            yield from (f"| {_as_sent(line)}" for line in content.split("\n"))


def _asked_for(prompt: Prompt) -> str:
    """Say for whom the call was made first: equal questions of several studies share one."""
    if not prompt.asked_for:
        return ""
    study, layer = (prompt.asked_for.get(name) for name in ("study", "layer"))
    return f", first asked by study {_said(study)}, layer {layer}"


def _replies(trace: Trace) -> Iterator[str]:
    raw = str(trace.explanation["raw_response"])
    yield from (f"| {_said(line)}" for line in raw.split("\n")) if raw else [NOTHING]
    stored = [prompt.reply for prompt in trace.sent.prompts if prompt.reply is not None]
    if len(stored) == 1 and stored[0] != trace.explanation["raw_response"]:
        yield "WARNING: the call store holds another reply"


def _exemplars(trace: Trace, width: int) -> Iterator[str]:
    if not (trace.exemplars or trace.tokens or trace.effects):
        yield "no sequence stands beside this explanation"
    for each in trace.exemplars:
        peak = NOTHING if each.peak is None else f"{each.peak:.3f}"
        kind = "no record" if each.kind is None else f"{each.kind} {each.rank}, {each.split}, peak {peak}"
        document = f"document {each.document_id}, {_said(each.source)}"
        yield from wrapped(f"sequence {each.sequence_id} ({kind}; {document})", width)
        yield from wrapped(_as_sent(each.text), width, indent="  ")
    if trace.tokens:
        yield "Of its token table, the tokens that it ranks first:"
        yield from aligned(_quoted(trace.tokens), _TOKEN_ROWS, width, left=("token",))
    if trace.effects:
        yield "With the neuron amplified:"
        yield from aligned(_quoted(trace.effects), _EFFECTS, width, left=("token", "kind"))


def _documents(trace: Trace, width: int) -> Iterator[str]:
    if not trace.documents:
        yield NOTHING
    for row in trace.documents:
        held = "held out from token tables" if row["held_out"] else "not held out"
        yield from wrapped(
            f"{row['document_id']}: {_said(row['source'])} (sequences: {row['sequences']}; {held})", width
        )


def _sources(trace: Trace, width: int) -> Iterator[str]:
    corpus, subject = trace.corpus, trace.subject
    yield from wrapped(
        f"text {_said(corpus['text'])}, revision {_said(corpus['text_revision'])}: {corpus['sequences']:,}"
        f" sequences of {corpus['sequence_length']} tokens from {corpus['documents']:,} documents, seed"
        f" {corpus['seed']}",
        width,
    )
    yield f"sequences sha256 {corpus['sequences_sha256']}"
    yield from wrapped(
        f"subject {_said(subject['subject'])}, weights {_said(subject['subject_revision'])}, dtype"
        f" {_said(subject['dtype'])}",
        width,
    )
    if made := subject["made_by"]:
        libraries = ", ".join(f"{name} {release}" for name, release in made["libraries"].items())
        yield from wrapped(
            _said(f"made by {made['weights']} in {made['dtype']} on {made['device']}; {libraries}"), width
        )
    else:
        yield "made by: not on record"


def _tables(trace: Trace, width: int) -> Iterator[str]:
    rows = [{**vars(each), "current": "yes" if each.is_current else "NO"} for each in trace.tables]
    yield from aligned(_frame(rows), _STAMPS, width, left=tuple(_STAMPS))
    for each in trace.tables:
        if each.note:
            yield from wrapped(f"{each.table}: {each.note}", width)


def _runs(trace: Trace, width: int) -> Iterator[str]:
    yield from wrapped(_said(trace.history), width)
    for (run, commit), runs in groupby(trace.runs, key=lambda each: (each.run_id, each.commit)):
        made = (
            "no materialisation on record" if run is None else f"run {run}, commit {commit or 'not recorded'}"
        )
        yield f"{_said(made)}:"
        stages = (f"{each.stage}{f' at {each.time}' if each.time else ''}{_noted(each)}" for each in runs)
        yield from wrapped(", ".join(stages), width, indent="  ")


def _noted(each: Materialised) -> str:
    return f" (but {_said(each.note)})" if each.note else ""


def _quoted(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows whose tokens stand in quotation marks, so that their blanks are seen."""
    return _frame([{**row, "quoted": f'"{row["token"]}"'} for row in rows])


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _said(text: object) -> str:
    """Return text of anybody as one line that cannot command a terminal."""
    return NOTHING if text is None else escaped(str(text).encode("utf-8", "surrogatepass"))


def _as_sent(line: str) -> str:
    """Return the same of a line in which corpus text is escaped already, without doubling its backslashes."""
    return "\t".join(_said(part) for part in line.split("\t")).replace("\\\\", "\\")
