"""Rules examined by Great Expectations, which is imported nowhere else and only once there are rows."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import dagster as dg
import polars as pl
import polars.selectors as cs

from neuroscribe.ports.checks import Rule, Verdict

IDENTIFY = ("layer", "neuron", "explanation_id")


class Expectations(dg.ConfigurableResource):
    """Fulfils the port `Validator` with Great Expectations."""

    failing_rows: int = 1000
    """How many rows in breach a verdict names at most; it counts them all."""

    def validate(  # pyright: ignore[reportIncompatibleMethodOverride]  (pydantic's own is deprecated)
        self,
        frame: pl.DataFrame,
        rules: Sequence[Rule],
        *,
        name: str,
        identify: tuple[str, ...] = IDENTIFY,
    ) -> list[Verdict]:
        """Return one verdict per rule, in their order; a frame without rows passes and says so.

        Failing rows are named by the columns in `identify`; aggregates (means) name none.
        """
        examined = [rule for rule in rules if _has_rows(frame, rule)]
        results = _results(frame, examined, name=name, identify=identify) if examined else {}
        return [_verdict(rule, results.get(rule.name, []), limit=self.failing_rows) for rule in rules]


def _has_rows(frame: pl.DataFrame, rule: Rule) -> bool:
    """Tell whether a rule has something to examine; a mean or a difference needs rows with both values."""
    if rule.kind in ("difference", "mean_difference"):
        return not frame.select(rule.columns).drop_nulls().is_empty()
    return not frame.is_empty()


def _results(
    frame: pl.DataFrame, rules: Sequence[Rule], *, name: str, identify: tuple[str, ...]
) -> dict[str, list[dict[str, Any]]]:
    """Return what Great Expectations found, by rule."""
    with _quiet(), _some_home():
        import great_expectations as gx

        batch = _batches().get_batch(batch_parameters={"dataframe": _pandas(frame, rules, identify)})
        suite = gx.ExpectationSuite(
            name=name, expectations=[expectation for rule in rules for expectation in _expectations(rule)]
        )
        validation = batch.validate(
            suite,
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": list(identify)},
        )
    by_rule: dict[str, list[dict[str, Any]]] = {}
    for result in validation.results:
        config = result.expectation_config
        assert config is not None
        by_rule.setdefault(config.meta["rule"], []).append(result.to_json_dict())
    return by_rule


@lru_cache(maxsize=1)
def _batches() -> Any:
    """Return what takes frames in, made once per process: that costs more than to examine a frame."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("neuroscribe").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


def _pandas(frame: pl.DataFrame, rules: Sequence[Rule], identify: tuple[str, ...]) -> Any:
    """Return the columns that the rules need, with the differences they ask for, as a pandas frame."""
    columns = dict.fromkeys([*identify, *(column for rule in rules for column in rule.columns)])
    differences = {
        _difference(rule): pl.col(rule.columns[0]) - pl.col(rule.columns[1])
        for rule in rules
        if rule.kind in ("difference", "mean_difference")
    }
    # pandas takes NaN for null and would pass it over; an infinity fails the bounds as a NaN should.
    needed = frame.select(*columns).with_columns(**differences)
    return needed.with_columns(cs.float().fill_nan(math.inf)).to_pandas()


def _difference(rule: Rule) -> str:
    return " - ".join(rule.columns)


def _expectations(rule: Rule) -> list[Any]:
    """Return the expectations that together make up a rule."""
    from great_expectations import expectations
    from great_expectations.expectations.row_conditions import Column

    gxe: Any = expectations  # the package does not mark its classes as exported

    severity = "critical" if rule.severity == "error" else "warning"
    common: dict[str, Any] = {"severity": severity, "meta": {"rule": rule.name}}
    bounds: dict[str, Any] = {"min_value": rule.low, "max_value": rule.high}
    column = rule.columns[0]
    match rule.kind:
        case "unique":
            if len(rule.columns) == 1:
                return [gxe.ExpectColumnValuesToBeUnique(column=column, **common)]
            unique = gxe.ExpectCompoundColumnsToBeUnique
            return [unique(column_list=list(rule.columns), ignore_row_if="never", **common)]
        case "within":
            return [gxe.ExpectColumnValuesToBeBetween(column=column, **bounds, **common)]
        case "value_or_reason":
            reason = Column(rule.columns[1])
            return [
                gxe.ExpectColumnValuesToBeNull(column=column, row_condition=reason.is_not_null(), **common),
                gxe.ExpectColumnValuesToNotBeNull(column=column, row_condition=reason.is_null(), **common),
            ]
        case "null_share":
            return [gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=1 - (rule.high or 0), **common)]
        case "difference":
            return [gxe.ExpectColumnValuesToBeBetween(column=_difference(rule), **bounds, **common)]
        case "mean_difference":
            return [
                gxe.ExpectColumnMeanToBeBetween(
                    column=_difference(rule), **bounds, strict_min=True, strict_max=True, **common
                )
            ]


def _verdict(rule: Rule, results: Sequence[dict[str, Any]], *, limit: int) -> Verdict:
    if not results:
        return Verdict(rule.name, True, rule.severity, rule.description, "nothing to examine", None)
    for result in results:
        _refuse_broken(rule, result)
    passed = all(result["success"] for result in results)
    rows = [row for result in results for row in result["result"].get("unexpected_index_list") or []]
    observed, measure = _finding(rule, [result["result"] for result in results])
    failing = () if passed else tuple({key: _value(row[key]) for key in row} for row in rows[:limit])
    return Verdict(rule.name, passed, rule.severity, rule.description, observed, measure, failing)


def _finding(rule: Rule, results: Sequence[dict[str, Any]]) -> tuple[str, float | None]:
    """Return what was found as a phrase and as a number."""
    if rule.kind == "mean_difference":
        mean = results[0]["observed_value"]
        return f"mean difference {mean:.4f}", float(mean)
    bad = sum(result["unexpected_count"] for result in results)
    rows = sum(result["element_count"] for result in results)
    if rule.kind == "null_share":
        return f"{bad} of {rows} rows ({bad / rows:.1%})", bad / rows
    return f"{bad} of {rows} rows", float(bad)


def _refuse_broken(rule: Rule, result: dict[str, Any]) -> None:
    """Raise RuntimeError when an expectation could not be computed, which is no verdict on the data."""
    info = result["exception_info"]
    for each in [info] if "raised_exception" in info else info.values():
        if each.get("raised_exception"):
            raise RuntimeError(f"rule {rule.name} cannot be examined: {each.get('exception_message')}")


def _value(value: object) -> object:
    """Return a plain number or text; pandas gives numpy scalars, and NaN for a missing number."""
    plain = value.item() if hasattr(value, "item") else value  # pyright: ignore[reportAttributeAccessIssue]
    return None if isinstance(plain, float) and math.isnan(plain) else plain


@contextmanager
def _some_home() -> Iterator[None]:
    """Let a user without a home import Great Expectations, which only makes names of folders of it."""
    try:
        Path.home()
    except RuntimeError:
        with TemporaryDirectory() as folder, patch.object(Path, "home", return_value=Path(folder)):
            yield
    else:
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what Great Expectations causes inside itself and nobody here can mend.

    That is deprecations, and that a library of Google's, which Ray brings and it tries, is not complete.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ImportWarning, module=r"google\.")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"great_expectations\.")
        yield
