"""What a study may ask by batch jobs."""

from pathlib import Path

import pytest

from neuroscribe.errors import StudyError
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stage_identity
from neuroscribe.testing.planted_study import write_planted_study


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted_study(tmp_path_factory.mktemp("batch"), base_url="http://127.0.0.1:1/v1")


def changed(planted: Path, before: str, after: str) -> Study:
    text = planted.read_text()
    assert text.count(before) == 1
    path = planted.with_name("changed.toml")
    path.write_text(text.replace(before, after))
    return read_study(path)


def test_batch_jobs_for_a_simulator_that_reads_log_probabilities_are_refused_with_the_remedy(planted: Path):
    with pytest.raises(StudyError, match=r"'all_at_once' reads; name the model in \[simulator_llm\] without"):
        changed(planted, "[llm]\n", "[llm]\nbatch = true\n")


def test_batch_jobs_of_a_model_in_this_process_are_refused(planted: Path):
    with pytest.raises(StudyError, match=r'batch = true needs provider = "openai"'):
        changed(planted, '[llm]\nprovider = "openai"\n', "[llm]\nbatch = true\n")


def test_how_a_model_is_asked_is_no_part_of_what_a_study_is(planted: Path):
    second = '[simulator_llm]\nprovider = "openai"\nmodel = "scripted"\n'
    plain = changed(planted, "[llm]\n", f"{second}[llm]\n")
    batched = changed(planted, "[llm]\n", f"{second}[llm]\nbatch = true\n")
    for stage in ("explanations", "simulations", "scores"):
        assert stage_identity(batched, stage) == stage_identity(plain, stage)


def test_judges_without_log_probabilities_are_other_judges(planted: Path):
    scorer = '[scorers.detection]\nexplainers = ["token_pairs"]\n'
    second = '[simulator_llm]\nprovider = "openai"\nmodel = "scripted"\n'
    replies = changed(planted, "[simulators.all_at_once]", f"{scorer}{second}[simulators.matching_words]")
    text = planted.with_name("changed.toml").read_text()
    batched = planted.with_name("batched.toml")
    batched.write_text(text.replace(second, f"{second}batch = true\n"))
    own = read_study(batched)
    assert stage_identity(own, "judgements") != stage_identity(replies, "judgements")
    assert stage_identity(own, "simulations") == stage_identity(replies, "simulations")
