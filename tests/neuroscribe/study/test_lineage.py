"""Why tables that are there are made again: another release, other settings, other tables before them."""

from dataclasses import replace

from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, provenance, stage_identity, stages_of
from neuroscribe.tables.parquet import Stamp
from neuroscribe.testing.studies import tiny_study


class Stamps:
    """Stamps by table, as a store gives them."""

    def __init__(self, own: Study) -> None:
        self.stamps: dict[str, Stamp] = {}
        for stage in stages_of(own):
            inputs = Lineage(own.name, self).inputs(stage, 0)
            said = (stage_identity(own, stage), f"rows of {stage}", inputs, "")
            for table in STAGES[stage].tables:
                self.stamps[table.name] = Stamp(*said, str(provenance(own, stage)["code_version"]))

    def stamp(self, study: str, table: str, layer: int | None = None) -> Stamp | None:
        return self.stamps.get(table)


def why(own: Study, stamps: Stamps) -> str | None:
    return Lineage(own.name, stamps).why_anew(own, "scores", 0)


def test_what_is_current_or_not_there_is_not_made_anew() -> None:
    own = tiny_study()
    stamps = Stamps(own)
    assert why(own, stamps) is None
    stamps.stamps.clear()
    assert why(own, stamps) is None


def test_scores_of_an_earlier_release_name_both_versions() -> None:
    own = tiny_study()
    stamps, now = Stamps(own), provenance(own, "scores")["code_version"]
    stamps.stamps["scores"] = replace(stamps.stamps["scores"], code_version="0.1.0+scores.4", identity="old")
    assert (why(own, stamps) or "").startswith(f"0.1.0+scores.4 made them, and {now} makes them otherwise")


def test_scores_of_other_settings_and_of_other_tables_say_so() -> None:
    own = tiny_study()
    stamps = Stamps(own)
    stamps.stamps["scores"] = replace(stamps.stamps["scores"], identity="of other settings")
    assert (why(own, stamps) or "").startswith("the study's settings, or stages before them, have changed")
    stamps = Stamps(own)
    stamps.stamps["explanations"] = replace(stamps.stamps["explanations"], content="other texts")
    assert why(own, stamps) == "the tables that they were made from have changed since"
