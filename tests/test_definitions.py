"""What Dagster sees: every study's graph, its partitions, versions, checks, jobs and schedules."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.stage import key
from dagster_project.broken import ASSET, broken_defs
from dagster_project.build import build_defs, folder_defs, shared_defs
from dagster_project.environments import ROOT, Environment
from dagster_project.sealed import sealed
from neuroscribe.errors import StudyError
from neuroscribe.kinds import KnownStudy, read_studies
from neuroscribe.study.publishing import PublishSpec
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, stages_of
from neuroscribe.tables.records import SEQUENCES, VOCABULARY

STUDIES = read_studies(ROOT / "studies")
_SHOWN = {"explainers": [name for name, e in STUDIES["embedded"].explainers.items() if e.half == "input"]}
_SCORERS = {
    "detection": _SHOWN,
    "ablation": {"simulators": list(STUDIES["embedded"].simulators)},
    "sensitivity": _SHOWN,
    "steering": {"explainers": ["promotes"]},
}
EVERY = KnownStudy.model_validate(
    STUDIES["embedded"].model_dump()
    | {
        "explainers": STUDIES["embedded"].model_dump()["explainers"] | {"promotes": {}},
        "scorers": _SCORERS,
        "sample": {"recognisable": 1, "neurons_per_layer": 2},
    }
)
"""A study with all stages."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment.read({"NEUROSCRIBE_STORE": str(tmp_path_factory.mktemp("store"))})


@pytest.fixture(scope="module")
def defs(environment: Environment) -> dg.Definitions:
    return build_defs(STUDIES.values(), environment=environment)


def test_all_studies_load_side_by_side(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)

    keys = {spec.key for spec in defs.resolve_all_asset_specs()}

    assert keys == {key(study, name) for study in STUDIES.values() for name in stages_of(study)}


def test_every_asset_says_what_it_is_whose_and_of_which_study(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.group_name == spec.key.path[0]
        assert spec.description
        assert spec.kinds
        assert spec.owners == ["team:interpretability"]
        assert spec.code_version


def test_an_asset_waits_for_what_its_stage_reads_and_the_dataset_for_all_that_it_publishes(
    environment: Environment,
) -> None:
    defs = build_defs([EVERY], environment=environment)
    waits = {
        spec.key.path[-1]: {dep.asset_key for dep in spec.deps} for spec in defs.resolve_all_asset_specs()
    }

    assert waits.pop("neuron_dataset") == {key(EVERY, name) for name in STAGES if name != "neuron_dataset"}
    assert waits == {
        name: {key(EVERY, upstream) for upstream in stage.reads}
        for name, stage in STAGES.items()
        if name != "neuron_dataset"
    }


BEHIND_SCORES = ["encoded_corpus", "neuron_records", "sampled_activations", "simulations"]


@pytest.mark.parametrize(
    ("study", "stages"),
    [
        (STUDIES["embedded"], sorted([*BEHIND_SCORES, "choices"])),
        (EVERY, sorted([*BEHIND_SCORES, "ablations", "choices", "judgements", "sentences"])),
    ],
)
def test_a_column_comes_from_the_columns_declared_beside_it_of_stages_that_the_study_has(
    environment: Environment, study: Study, stages: list[str]
) -> None:
    defs = build_defs([study], environment=environment)
    (scores,) = (spec for spec in defs.resolve_all_asset_specs() if spec.key == key(study, "scores"))

    sources = scores.metadata["dagster/column_lineage"].deps_by_column["value"]

    assert sorted({source.asset_key.path[-1] for source in sources}) == stages


def test_an_asset_shows_the_columns_of_each_of_its_tables(defs: dg.Definitions) -> None:
    specs = {spec.key: spec.metadata for spec in defs.resolve_all_asset_specs()}
    corpus = specs[key(STUDIES["embedded"], "corpus")]

    shown = corpus["dagster/column_schema"], corpus["corpus/vocabulary/column_schema"]

    for schema, table in zip(shown, (SEQUENCES, VOCABULARY), strict=True):
        assert {column.name: column.description for column in schema.columns} == {
            column.name: column.description for column in table.columns
        }
        assert schema.constraints.other == [f"one row per {table.key[0]}"]


def test_each_study_has_a_partition_per_layer_of_its_own_subject(defs: dg.Definitions) -> None:
    for study in STUDIES.values():
        graph = defs.resolve_asset_graph()
        partitions = graph.get(key(study, "scores")).partitions_def

        assert partitions is not None
        assert len(partitions.get_partition_keys()) == len(study.sampled_layers)
        captured = graph.get(key(study, "activations")).partitions_def
        assert captured is not None
        assert len(captured.get_partition_keys()) == study.subject.layers


def test_a_backfill_of_the_capture_is_one_run_and_of_the_explanations_a_run_for_eight_layers(
    defs: dg.Definitions,
) -> None:
    graph = defs.resolve_asset_graph()

    together = ("activations", "neuron_records", "sampled_activations", "token_lookup")
    for name in ("corpus", *together):
        assert graph.get(key(STUDIES["embedded"], name)).backfill_policy == dg.BackfillPolicy.single_run()
    for name in ("explanations", "simulations", "scores"):
        assert graph.get(key(STUDIES["embedded"], name)).backfill_policy == dg.BackfillPolicy.multi_run(8)


def test_a_run_can_be_told_nothing_but_how_much_dagster_logs(defs: dg.Definitions) -> None:
    """Whoever reaches the web page may launch runs, and reaches no address, key or variable by it."""
    jobs = defs.get_repository_def().get_all_jobs()
    assert len(jobs) > 4 * len(STUDIES)
    told = {name for job in jobs for name in _settings(job.run_config_schema.config_type)}
    assert told == {
        "execution.config.marker_to_close",
        "execution.config.step_dependency_config.require_upstream_step_success",
        "loggers.console.config.log_level",
        "loggers.console.config.name",
    }


@pytest.mark.parametrize("kind", ["multiprocess", "ray"])
def test_steps_are_computed_where_the_environment_says_of_which_a_run_can_be_told_nothing(
    kind: str, environment: Environment
) -> None:
    if kind == "ray":
        pytest.importorskip("dagster_ray")
    defs = build_defs([STUDIES["embedded"]], environment=replace(environment, executor=kind))
    jobs = defs.get_repository_def().get_all_jobs()
    assert {job.executor_def.name for job in jobs} == {kind}
    told = {name for job in jobs for name in _settings(job.run_config_schema.config_type)}
    assert told == {"loggers.console.config.log_level", "loggers.console.config.name"}


def test_an_executor_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(StudyError, match=r"NEUROSCRIBE_EXECUTOR is 'dask'; .* in_process, multiprocess, ray"):
        Environment.read({"NEUROSCRIBE_EXECUTOR": "dask"})


def test_an_executor_that_is_not_installed_is_refused_with_its_lock(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dagster_ray", None)
    with pytest.raises(StudyError, match=r"NEUROSCRIBE_EXECUTOR is 'ray', .* -r requirements-ray\.lock"):
        build_defs([STUDIES["embedded"]], environment=replace(environment, executor="ray"))


def test_a_worker_elsewhere_is_told_where_things_are_and_neither_keys_nor_servers() -> None:
    environment = Environment.read(
        {
            "NEUROSCRIBE_STORE": "s3://bucket/store",
            "NEUROSCRIBE_S3_ENDPOINT": "http://127.0.0.1:9000",
            "NEUROSCRIBE_LLM_API_KEY": "secret",
            "NEUROSCRIBE_LLM_BASE_URL": "https://llm.example/v1",
        }
    )
    assert environment.told() == {
        "NEUROSCRIBE_STORE": "s3://bucket/store",
        "NEUROSCRIBE_STUDIES": str(ROOT / "studies"),
        "NEUROSCRIBE_S3_ENDPOINT": "http://127.0.0.1:9000",
    }


@pytest.mark.parametrize(
    "told", ['{"env_vars": ["A_SECRET"]}', '{"runtime_env": {}, "num_gpus": 1}', "[1]", "x"]
)
def test_a_run_s_tags_tell_ray_nothing_but_what_the_run_asks_for(told: str) -> None:
    pytest.importorskip("dagster_ray")
    from dagster_project.ray_launcher import check_tags

    with pytest.raises(StudyError, match=r"tag dagster-ray/config holds .*; it may hold num_cpus, num_gpus"):
        check_tags({"dagster-ray/config": told})
    check_tags({"dagster-ray/config": '{"num_gpus": 1}', "other": "x"})
    check_tags({})


def _settings(config: Any, name: str = "") -> Iterator[str]:
    """Yield the names of all that a run's configuration may hold."""
    fields: dict[str, Any] | None = getattr(config, "fields", None)
    if fields is None:
        yield name
        return
    for field, value in fields.items():
        yield from _settings(value.config_type, f"{name}.{field}".lstrip("."))


def test_a_resource_shows_how_it_is_set_and_no_secret_of_an_address() -> None:
    address = "http://name:secret@127.0.0.1:8000/v1?api_key=secret"
    environment = replace(Environment.read({"NEUROSCRIBE_LLM_API_KEY": "secret"}), llm_base_url=address)
    shown = sealed(environment.resources())["llm"].description or ""
    assert "- `base_url`: http://[hidden]@127.0.0.1:8000/v1?api_key=[hidden]\n" in shown
    assert "secret" not in shown
    assert "- `api_key`" not in shown


def test_the_gpu_and_the_llm_have_pools(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    pools = {name: graph.get(key(STUDIES["embedded"], name)).pools for name in stages_of(STUDIES["embedded"])}

    assert pools["activations"] == {"gpu"}
    assert pools["explanations"] == pools["simulations"] == {"llm"}


def test_a_file_in_the_studies_folder_adds_a_graph(environment: Environment, tmp_path: Path) -> None:
    text = (ROOT / "studies" / "embedded.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")

    defs = dg.Definitions.merge(folder_defs(read_studies(tmp_path), environment), shared_defs(environment))

    assert {spec.key.path[0] for spec in defs.resolve_all_asset_specs()} == {"mine"}


def test_a_broken_study_is_shown_with_its_message_beside_the_sound_ones(
    environment: Environment, tmp_path: Path
) -> None:
    text = (ROOT / "studies" / "embedded.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    (tmp_path / "my-own.toml").write_text(text, encoding="utf-8")
    (tmp_path / "my own.toml").write_text("[", encoding="utf-8")
    (tmp_path / "toy.toml").write_text(f'{text}\n[publish]\nlayouts = ["parquet", "toy"]', encoding="utf-8")

    defs = dg.Definitions.merge(folder_defs(read_studies(tmp_path), environment), shared_defs(environment))

    dg.Definitions.validate_loadable(defs)
    specs = {spec.key.path[0]: spec for spec in defs.resolve_all_asset_specs() if spec.key.path[1] == ASSET}
    assert set(specs) == {"my_own", "my_own_", "toy"}
    assert "layouts names 'toy'" in str(specs["toy"].description)
    assert "my-own.toml: the file's name" in f"{specs['my_own'].description}{specs['my_own_'].description}"
    assert any(spec.key.path == ["mine", "scores"] for spec in defs.resolve_all_asset_specs())


def test_a_broken_study_is_in_no_sound_study_s_group() -> None:
    defs = broken_defs({"my-own": StudyError("x")}, sound=["my_own"])
    assert [spec.group_name for spec in defs.resolve_all_asset_specs()] == ["my_own_"]


def test_a_broken_study_does_not_materialise_and_says_why() -> None:
    defs = broken_defs({"mine": StudyError("mine.toml: unknown key `x`")})
    with dg.instance_for_test() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    failed = next(event for event in result.all_events if event.is_step_failure)
    assert failed.step_failure_data.user_failure_data
    assert "mine.toml: unknown key `x`" in str(failed.step_failure_data.user_failure_data.description)


def test_another_explainer_setting_makes_only_explanations_new() -> None:
    from neuroscribe.study.stages import stage_version

    alone = STUDIES["embedded"]
    study = alone.model_copy(update={"simulator_llm": alone.llm})
    changed = study.model_copy(update={"llm": alone.llm.model_copy(update={"model": "another"})})

    new = {name for name in stages_of(study) if stage_version(study, name) != stage_version(changed, name)}

    assert new == {"explanations"}  # another model simulates


@pytest.mark.parametrize(
    ("section", "key", "value"), [("capture", "token_histogram", False), ("subject", "compiled", True)]
)
def test_a_key_that_came_later_is_part_of_an_identity_only_when_it_is_set(
    section: str, key: str, value: bool
) -> None:
    from neuroscribe.study.stages import stage_version

    study = STUDIES["embedded"]
    changed = study.model_copy(update={section: getattr(study, section).model_copy(update={key: value})})

    settings = STAGES["activations"].settings
    assert key not in repr(settings(study))
    assert f"'{key}': {value}" in repr(settings(changed))
    assert stage_version(study, "activations") != stage_version(changed, "activations")


def test_another_layout_makes_only_the_dataset_new_and_its_place_in_the_list_does_not() -> None:
    from neuroscribe.study.stages import stage_identity

    study = STUDIES["embedded"]
    wider, turned = [
        study.model_copy(update={"publish": PublishSpec(layouts=layouts)})
        for layouts in (("parquet", "toy"), ("toy", "parquet"))
    ]

    new = {name for name in stages_of(study) if stage_identity(study, name) != stage_identity(wider, name)}

    assert new == {"neuron_dataset"}
    assert stage_identity(wider, "neuron_dataset") == stage_identity(turned, "neuron_dataset")


def test_an_unknown_layout_is_refused_before_anything_is_computed(environment: Environment) -> None:
    wider = STUDIES["embedded"].model_copy(update={"publish": PublishSpec(layouts=("parquet", "toy"))})

    with pytest.raises(StudyError, match=r"embedded: publish\.layouts names 'toy', .* layouts parquet;"):
        build_defs([wider], environment=environment)


def test_where_a_server_stands_is_no_part_of_any_version() -> None:
    from neuroscribe.study.stages import stage_identity

    study = STUDIES["gpt2_xl"]
    moved = study.model_copy(update={"llm": study.llm.model_copy(update={"base_url": "http://other:1/v1"})})

    assert all(stage_identity(study, name) == stage_identity(moved, name) for name in STAGES)


@pytest.mark.parametrize("value", ["many", "²", "0", "-1", "1.5"])
def test_a_setting_that_is_no_number_is_refused_with_its_name(value: str) -> None:
    with pytest.raises(StudyError, match=f"NEUROSCRIBE_LLM_CONCURRENCY is '{value}'"):
        Environment.read({"NEUROSCRIBE_LLM_CONCURRENCY": value})


def test_a_batch_of_0_tokens_is_left_to_the_device() -> None:
    assert Environment.read({"NEUROSCRIBE_BATCH_TOKENS": "0"}) == Environment.read({})
    with pytest.raises(StudyError, match=r"NEUROSCRIBE_BATCH_TOKENS is '-1'; .* from 0 on"):
        Environment.read({"NEUROSCRIBE_BATCH_TOKENS": "-1"})


def test_an_empty_variable_is_one_that_is_not_set_and_a_tilde_is_the_users_folder() -> None:
    settings = Environment.read({"NEUROSCRIBE_STORE": "", "NEUROSCRIBE_CACHE": "~/models"})

    assert settings.store == str(ROOT / "store")
    assert settings.cache == str(Path.home() / "models")
