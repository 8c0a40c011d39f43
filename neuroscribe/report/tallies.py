"""Counts and means of a table as plain numbers: what stands beside every materialisation."""

from collections.abc import Iterable

import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.evidence.sample import SET_ASIDE_REASONS
from neuroscribe.judge.dealt import calls_behind, per_call
from neuroscribe.report.means import reported, with_undefined
from neuroscribe.study.dues import CORPUS, dues, scorer_name
from neuroscribe.study.spec import Study
from neuroscribe.tables.columns import RANDOM
from neuroscribe.tables.descriptions import STATUSES
from neuroscribe.tables.sentences import SENTENCE_STATUSES
from neuroscribe.tables.statuses import EXPLANATION_STATUSES, READING_STATUSES

Tally = dict[str, int | float | str]


def explanation_tally(explanations: pl.DataFrame, set_aside: pl.DataFrame) -> Tally:
    """Return explanations by status, tokens, money, and what was set aside before any call by reason.

    Money is left out where any price is unknown.
    """
    asked = explanations.filter(pl.col("model") != "none")
    tally: Tally = {
        "explanations": len(explanations),
        "calls": len(asked),
        "prompt_tokens": int(asked["prompt_tokens"].sum()),
        "completion_tokens": int(asked["completion_tokens"].sum()),
    }
    tally |= _counted("status_", explanations["status"], EXPLANATION_STATUSES)
    tally |= _counted("set_aside_", set_aside["reason"], SET_ASIDE_REASONS)
    if len(asked) and not asked["cost_usd"].null_count():
        tally["cost_usd"] = float(asked["cost_usd"].sum())
    return tally


def simulation_tally(simulations: pl.DataFrame) -> Tally:
    """Return simulations and the mean probability mass on valid values, per simulator."""
    tally: Tally = {"simulations": len(simulations)}
    for (name,), rows in simulations.partition_by("simulator", as_dict=True).items():
        tally[f"{name}/simulations"] = len(rows)
        tally |= _counted(f"{name}/status_", rows["status"], READING_STATUSES)
        mass = rows["valid_fraction"].drop_nulls()
        if len(mass):
            tally[f"{name}/mean_valid_fraction"] = float(mass.to_numpy().mean())
        if rows["unmatched_words"].count():
            tally[f"{name}/unmatched_words"] = int(rows["unmatched_words"].sum())
    return tally


def judgement_tally(judgements: pl.DataFrame) -> Tally:
    """Return judgements by scorer and status, and the tokens that the calls took."""
    tally: Tally = {
        "judgements": len(judgements),
        "prompt_tokens": int(judgements["prompt_tokens"].sum()),
        "completion_tokens": int(judgements["completion_tokens"].sum()),
    }
    for (name,), rows in judgements.partition_by("scorer", as_dict=True, maintain_order=True).items():
        tally[f"{name}/judgements"] = len(rows)
        tally |= _counted(f"{name}/status_", rows["status"], READING_STATUSES)
    return tally


def _counted(prefix: str, values: pl.Series, names: Iterable[str]) -> Tally:
    """Return how often each name stands among values; those that do not stand there are left out."""
    counts = {name: int((values == name).sum()) for name in names}
    return {f"{prefix}{name}": count for name, count in counts.items() if count}


def effect_tally(effects: pl.DataFrame) -> Tally:
    """Return how many sides were amplified, and how far predictions moved on average, in nats."""
    sides = effects.unique(["layer", "neuron", "polarity"])
    tally: Tally = {"neurons": len(sides)}
    if len(sides):
        tally["mean_divergence"] = float(sides["divergence"].cast(pl.Float64).to_numpy().mean())
    return tally


def choice_tally(choices: pl.DataFrame) -> Tally:
    """Return questions by scorer and status, and the tokens that the calls took."""
    tally: Tally = {
        "choices": len(choices),
        "prompt_tokens": int(choices["prompt_tokens"].sum()),
        "completion_tokens": int(choices["completion_tokens"].sum()),
    }
    for (name,), rows in choices.partition_by("scorer", as_dict=True, maintain_order=True).items():
        tally[f"{name}/choices"] = len(rows)
        tally |= _counted(f"{name}/status_", rows["status"], READING_STATUSES)
    return tally


def sentence_tally(sentences: pl.DataFrame) -> Tally:
    """Return sentences by scorer and status, on how many the own neuron fires, and what the calls took.

    The rows of controls, which repeat sentences of other explanations, count for nothing.
    """
    tally: Tally = {"rows": len(sentences)}
    tally |= {name: int(sentences[name].sum()) for name in ("prompt_tokens", "completion_tokens")}
    owners = pl.struct("neuron", "polarity").first().over("explanation_id", "scorer")
    own = sentences.filter(pl.struct("neuron", "polarity") == owners)
    for (name,), rows in own.partition_by("scorer", as_dict=True, maintain_order=True).items():
        tally[f"{name}/sentences"] = len(rows)
        tally[f"{name}/fires"] = int(rows["fires"].sum())
        tally |= _counted(f"{name}/status_", rows["status"], SENTENCE_STATUSES)
    return tally


def tokens_per_scored_neuron(evidence: LayerEvidence, scores: pl.DataFrame) -> pl.DataFrame:
    """Return LLM tokens, sent and received, per neuron that has a score, by explainer and what scores it.

    It counts neurons (each polarity on its own) with a value on `test`; all candidates, refusals and controls
    went into the price. Null where no neuron is scored.
    """
    explanations = evidence.tables["explanations"]
    explained = _tokens(explanations, "explainer")
    owners = explanations.select("explanation_id", "explainer")
    asked = [evidence.tables["simulations"].select(*_SPENT, source="simulator")]
    if "judgements" in evidence.tables:
        asked.append(evidence.tables["judgements"].select(*_SPENT, source="scorer"))
    if "choices" in evidence.tables:
        asked.append(evidence.tables["choices"].select(*_SPENT, source="scorer"))
    if "sentences" in evidence.tables:
        asked.append(evidence.tables["sentences"].select(*_SPENT, source="scorer"))
    spent = _tokens(pl.concat(asked).join(owners, on="explanation_id"), "explainer", "source")
    every = dues(evidence.study)
    valued = scores.filter((pl.col("split") == "test") & pl.col("value").is_not_null())
    rows: list[dict[str, object]] = []
    for due in dict.fromkeys((each.explainer, each.source) for each in every):
        scorers = [each.scorer for each in every if (each.explainer, each.source) == due]
        scored = valued.filter((pl.col("explainer") == due[0]) & pl.col("scorer").is_in(scorers))
        neurons = scored.select("layer", "neuron", "polarity").n_unique()
        shares = [
            total / neurons if neurons else None for total in (explained.get(due[:1], 0), spent.get(due, 0))
        ]
        rows.append(dict(zip(_SHARES, [*due, neurons, *shares], strict=True)))
    return pl.DataFrame(rows, schema=_SHARES)


_SPENT = ("explanation_id", "prompt_tokens", "completion_tokens")
_SHARES = {
    "explainer": pl.String(), "scored_by": pl.String(), "scored_neurons": pl.Int64(),
    "explaining": pl.Float64(), "scoring": pl.Float64(),
}  # fmt: skip


def _tokens(calls: pl.DataFrame, *keys: str) -> dict[tuple[str, ...], int]:
    """Return prompt and completion tokens together, by some columns."""
    total = (pl.col("prompt_tokens") + pl.col("completion_tokens")).sum()
    return {tuple(row[:-1]): row[-1] for row in calls.group_by(keys).agg(total).iter_rows()}


def score_tally(study: Study, scores: pl.DataFrame) -> Tally:
    """Return how many scores there are and are not, and mean value, ceiling and control of the headline's.

    That is the first explainer that describes, by the simulator that decides, on the random sample. The mean
    value stands there twice: over those defined, and with undefined ones counted as 0.
    """
    tally: Tally = {"scores": len(scores), "unscored": scores["value"].null_count()}
    scorer, explainers = scorer_name(study.describing.simulator), study.describing.explainers[:1]
    every = reported(scores).filter(pl.col("explainer").is_in(explainers), regime=CORPUS, scorer=scorer)
    headline = every.drop_nulls("value")
    for column in ("value", "ceiling", "control"):
        known = headline[column].drop_nulls()
        if len(known):
            tally[f"mean_{column}"] = float(known.to_numpy().mean())
    if len(headline):
        tally["mean_value_or_0"] = float(every.select(with_undefined("value")).item())
    return tally


def description_tally(descriptions: pl.DataFrame) -> Tally:
    """Return how many neurons there are of each status and sort, and the means of the random sample."""
    tally: Tally = {"descriptions": descriptions["explanation_id"].count()}
    random = descriptions.filter(sample=RANDOM)
    tally["recognisable"] = len(descriptions) - len(random)
    tally |= _counted("", random["status"], STATUSES)
    tally["by_llm"] = int(random["by_llm"].sum())
    valued = random.drop_nulls("score")
    for column in ("score", "ceiling", "control"):
        known = valued[column].drop_nulls()
        if len(known):
            tally[f"mean_{column}"] = float(known.to_numpy().mean())
    return tally


def llm_calls(
    study: Study,
    explanations: pl.DataFrame,
    simulations: pl.DataFrame,
    judgements: pl.DataFrame | None = None,
    choices: pl.DataFrame | None = None,
    sentences: pl.DataFrame | None = None,
) -> int:
    """Return how many LLM calls a layer's tables rest on.

    That is a prompt per explanation, for every asking simulator one per text and sequence, or per token, a
    question per text and excerpt, or per text and so many excerpts as a judge is shown together, one per text
    and options, and a list of sentences per text.
    """
    texts = explanations.select("explanation_id", "text")
    asked = int((explanations["model"] != "none").sum())
    for name, spec in study.simulators.items():
        simulated = simulations.filter(pl.col("simulator") == name).join(texts, on="explanation_id")
        lengths = simulated.unique(["text", "sequence_id"])["simulated"].list.len()
        asked += sum(spec.calls(tokens) for tokens in lengths)
    if judgements is not None:
        put = judgements.join(texts, on="explanation_id")
        asked += sum(_judging_calls(study, name, put.filter(scorer=name)) for name in study.judging)
    if choices is not None:
        names = [name for name, spec in study.choosing.items() if spec.needs == "reply"]
        put = choices.filter(pl.col("scorer").is_in(names)).join(texts, on="explanation_id", how="left")
        asked += put.select("scorer", "text", "neuron", "polarity", "split", "trial").n_unique()
    if sentences is not None:
        names = [name for name, spec in study.writing.items() if spec.needs == "reply"]
        written = sentences.filter(pl.col("scorer").is_in(names)).drop("text")
        asked += written.join(texts, on="explanation_id").select("scorer", "text").n_unique()
    return asked


def _judging_calls(study: Study, name: str, put: pl.DataFrame) -> int:
    """Return how many calls one scorer's judgements, with the explanations' texts, rest on."""
    if study.judging[name].needs != "reply":
        return 0
    if per_call(study, name) > 1:
        return calls_behind(study, name, put)
    return put.select("text", "sequence_id", "start", "stop", "marked").n_unique()
