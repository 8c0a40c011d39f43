import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from neuroscribe.errors import StudyError
from neuroscribe.explain.highlights import Highlights
from neuroscribe.explain.token_list import TokenList
from neuroscribe.explain.token_pairs import TokenPairs
from neuroscribe.kinds import KnownStudy, read_studies, read_study
from neuroscribe.study.dues import dues
from neuroscribe.study.scoring import ScoringSpec
from neuroscribe.study.sections import WeightsSpec
from neuroscribe.study.spec import LLMSpec, Study, layer_key, layer_of
from tests.neuroscribe.study.small_study import GOOD, read, refusal

STUDIES = Path(__file__).parents[3] / "studies"


def test_a_study_is_read_with_its_name_and_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    study = read_study(path)
    assert study.name == "mine"
    assert study.corpus.sequence_length == 64
    assert [spec.kind_name for spec in study.explainers.values()] == ["token_pairs", "token_list"]
    assert study.sampled_layers == (0, 1)
    assert study.polarities == (1,)


def test_every_shipped_study_loads() -> None:
    studies = read_studies(STUDIES)
    assert set(studies) == {path.stem for path in STUDIES.glob("*.toml")}
    assert "embedded" in studies


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("sequences =", "sequnces ="))
    assert "unknown key `corpus.sequnces`; known keys here: artefact, files, seed, sequence_length" in message
    assert "key `corpus.sequences` is missing; add it" in message


def test_an_unknown_key_of_an_explainer_is_named_as_the_file_spells_it(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("excerpts = 3", "excepts = 3"))
    assert "unknown key `explainers.token_pairs.excepts`; known keys here: answer, apart" in message


def test_a_misspelt_section_is_named_with_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("[corpus]", "[corpse]"))
    assert (
        "unknown key `corpse`; known keys here: amplifying, capture, corpus, description, explainers, llm"
        in message
    )
    assert ", name," not in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("layers = 2\n", ""))
    assert "key `subject.layers` is missing; add it (README.md lists the sections)" in message


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("layers = 2", 'layers = "many"', "`subject.layers` is 'many'"),
        ("sequences = 100", "sequences = 0", "`corpus.sequences` is 0"),
        ("excerpts = 3", "excerpts = []", "`explainers.token_pairs.excerpts` is []"),
        ('model = "m"', 'model = "m"\nprovider = "cloud"', "`llm.provider` is 'cloud'"),
        ("[llm]", "[publish]\nlayouts = []\n[llm]", "`publish.layouts` is []"),
    ],
)
def test_a_value_of_the_wrong_kind_is_shown_with_its_key(
    before: str, after: str, key: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, (before, after))
    assert key in message
    assert message.endswith("; correct it")


@pytest.mark.parametrize(
    ("layouts", "finding"),
    [
        ('["openai"]', 'publish.layouts: "parquet" is missing, on which manifest and card rest; add it'),
        ('["parquet", "parquet"]', "publish.layouts: one layout is named twice; remove it"),
    ],
)
def test_a_dataset_has_the_tables_themselves_and_every_layout_once(
    layouts: str, finding: str, tmp_path: Path
) -> None:
    assert finding in refusal(tmp_path, ("[llm]", f"[publish]\nlayouts = {layouts}\n[llm]"))


def number_keys(model: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where numbers are asked for in a study file; of tables by name, one of each kind."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from number_keys(inner, (*place, name))
        elif re.search(r"\b(int|float)\b", repr(inner)):
            yield (*place, name)


NUMBERS = [
    *number_keys(Study),
    *[
        place
        for kind in (TokenPairs, Highlights, TokenList)
        for place in number_keys(kind, ("explainers", kind.model_fields["kind"].default))
    ],
]


@pytest.mark.parametrize("place", NUMBERS, ids=".".join)
@pytest.mark.parametrize("value", [True, "7"])
def test_only_numbers_pass_for_numbers(place: tuple[str, ...], value: object, tmp_path: Path) -> None:
    data = tomllib.loads(GOOD)
    table = data
    for part in place[:-1]:
        table = table.setdefault(part, {})
    table[place[-1]] = [value] if place == ("sample", "layers") else value
    with pytest.raises(ValidationError) as caught:
        KnownStudy.model_validate({"name": "mine", **data})
    assert {error["type"] for error in caught.value.errors()} & {"int_type", "float_type"}


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_a_price_is_a_number_of_dollars(price: float) -> None:
    with pytest.raises(ValidationError, match="usd_per_million_prompt_tokens"):
        LLMSpec(model="m", provider="openai", usd_per_million_prompt_tokens=price)


def test_all_sections_with_numbers_are_tried() -> None:
    tried = {".".join(place) for place in NUMBERS}
    assert len(tried) == 49
    assert {
        "sample.layers",
        "corpus.seed",
        "scoring.max_unscored_share",
        "scoring.sequences",
        "llm.usd_per_million_prompt_tokens",
    } <= tried


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "sequences = 100",
            "sequences = true",
            "key `corpus.sequences` is True: input should be a valid int",
        ),
        ("excerpts = 3", "temperature = true", "key `explainers.token_pairs.temperature` is True: input"),
        (
            "[llm]",
            "[sample]\nlayers = [0, true]\n[llm]",
            "key `sample.layers` is [0, True]: input should be a valid integer or input should be",
        ),
        (
            "[llm]",
            "[sample]\nneurons_per_layer = true\n[llm]",
            "key `sample.neurons_per_layer` is True: input should be a valid integer or input should be",
        ),
    ],
)
def test_a_boolean_where_a_number_is_asked_is_shown_with_its_key(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, (before, after))
    assert said in message
    assert len(message.splitlines()) == 1


def test_a_whole_number_passes_for_a_fraction(tmp_path: Path) -> None:
    study = read(tmp_path, GOOD.replace("excerpts = 3", "temperature = 1"))
    assert isinstance(study, Study)
    assert study.explainers["token_pairs"].model_dump()["temperature"] == 1.0


def test_a_layer_that_the_subject_lacks_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("[llm]", "[sample]\nlayers = [1, 2]\n[llm]"))
    assert "sample.layers names layer 2, but the subject has layers 0 to 1; remove it or correct" in message
    explainers = 'explainers = ["token_pairs"]'
    message = refusal(tmp_path, (explainers, f"{explainers}\nlayers = [-1]"))
    assert "simulators.all_at_once.layers names layer -1, but the subject has layers 0 to 1" in message
    message = refusal(
        tmp_path, ("[llm]", "[sample]\nlayers = [1]\n[llm]"), (explainers, f"{explainers}\nlayers = [0]")
    )
    assert (
        "simulators.all_at_once.layers names none of sample.layers, so that it would read nothing" in message
    )


def test_more_neurons_than_a_layer_has_cannot_be_sampled(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("[llm]", "[sample]\nneurons_per_layer = 25\n[llm]"))
    assert "sample.neurons_per_layer = 25, but subject.neurons_per_layer = 24" in message


def test_an_explainer_that_is_not_declared_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, ('explainers = ["token_pairs"]', 'explainers = ["tokenpairs"]'))
    assert (
        "simulators.all_at_once.explainers names 'tokenpairs', which is not among the explainers" in message
    )
    assert "explainers listed, token_pairs; correct it, or add [explainers.tokenpairs]" in message


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, ('kind = "token_list"', 'kind = "guess"'))
    known = ", ".join(f"'{kind}'" for kind in KnownStudy.known_kinds("explainers"))
    assert f"explainers.listed: unknown kind 'guess'; give kind = {known}" in message


def test_candidates_that_cannot_differ_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("excerpts = 3", "candidates = 3\ntemperature = 0.0"))
    assert "explainers.token_pairs: candidates = 3 at temperature = 0 are all the same; raise" in message


def test_more_tokens_than_ranks_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, ('kind = "token_list"', 'kind = "token_summary"\namong = 10'))
    assert "explainers.listed: tokens = 12 exceeds among = 10; lower the first" in message


def test_a_form_of_answer_that_there_is_none_of_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("excerpts = 3", 'answer = "prose"'))
    assert "`explainers.token_pairs.answer` is 'prose'" in message


def test_the_negative_side_needs_to_be_captured_to_be_explained(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("[llm]", '[sample]\npolarity = "both"\n[llm]'))
    assert 'sample.polarity = "both" needs capture.polarities = "both"' in message


@pytest.mark.parametrize("source", ["", 'files = "x.txt"\nartefact = "y"'])
def test_a_corpus_has_exactly_one_source(source: str, tmp_path: Path) -> None:
    assert "give either `artefact` or `files`, and not both" in refusal(tmp_path, ('files = "x.txt"', source))


def test_random_exemplars_cannot_exceed_the_random_sequences(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("[llm]", "[capture]\nrandom_exemplars = 31\n[llm]"))
    assert "random_exemplars = 31 exceeds random_sequences = 30; raise random_sequences" in message


@pytest.mark.parametrize(
    ("capture", "scored", "message"),
    [
        ("top_k = 20", 6, "sequences_per_split = 6 needs capture.top_k = 24, .*; raise it, or lower .* to 5"),
        ("top_k = 40", 10, "needs capture.random_exemplars = 30, .* but random_exemplars = 15; raise it"),
    ],
)
def test_a_split_that_cannot_hold_what_is_scored_is_refused(
    capture: str, scored: int, message: str, tmp_path: Path
) -> None:
    changed = f"[capture]\n{capture}\n[scoring]\nsequences_per_split = {scored}\n[llm]"
    assert re.search(message, refusal(tmp_path, ("[llm]", changed)))


def test_as_many_exemplars_as_are_scored_and_shown_are_enough(tmp_path: Path) -> None:
    changed = "[capture]\ntop_k = 12\nrandom_exemplars = 9\n[scoring]\nsequences_per_split = 3\n[llm]"
    assert read(tmp_path, GOOD.replace("[llm]", changed)).scoring.sequences_per_split == 3


def test_more_excerpts_than_the_training_split_holds_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("excerpts = 3", "excerpts = 6"))
    assert (
        "explainers.token_pairs.excerpts = 6, but of top_k = 20 top sequences 5 are in the training"
        in message
    )
    assert "lower excerpts, or raise capture.top_k to 24" in message


def test_keys_of_layers_follow_their_order() -> None:
    assert [layer_key(layer) for layer in (0, 9, 47)] == ["layer_00", "layer_09", "layer_47"]
    assert [layer_of(layer_key(layer)) for layer in range(130)] == list(range(130))


SCORERS = """
[scorers.detection]
explainers = ["token_pairs"]
[scorers.near]
kind = "detection"
explainers = ["token_pairs", "listed"]
[scorers.near.near_text]
artefact = "all-minilm-l6-v2"
[scorers.retrieval]
explainers = ["listed"]
[scorers.ablation]
simulators = ["all_at_once"]
"""


def test_scorers_are_read_and_say_what_they_need(tmp_path: Path) -> None:
    study = read(tmp_path, GOOD + SCORERS)
    assert isinstance(study, Study)
    assert list(study.judging) == ["detection", "near", "retrieval"]
    assert list(study.ablating) == ["ablation"]
    assert study.simulating_needs == {"prompt_logprobs", "reply", "encoder", "subject"}
    assert [spec.artefact for spec in study.encoders] == [None, "all-minilm-l6-v2"]
    assert study.fitted_simulators == {"all_at_once"}
    plain = read(tmp_path, GOOD)
    assert isinstance(plain, Study)
    assert (plain.scorers, plain.encoders, plain.fitted_simulators) == ({}, (), frozenset())


def test_the_names_that_are_checked_are_those_that_scores_are_published_under(tmp_path: Path) -> None:
    study = read(tmp_path, GOOD + SCORERS)
    assert isinstance(study, Study)
    calibrated = study.model_copy(update={"scoring": ScoringSpec(calibration="linear")})
    for each in (study, calibrated):
        assert set(each._scorer_names()) == {due.scorer for due in dues(each)}


def test_an_encoder_that_is_not_pinned_unpins_the_study(tmp_path: Path) -> None:
    revision = f'revision = "{"0" * 40}"'
    pinned = GOOD.replace('model = "org/model"', f'model = "org/model"\n{revision}').replace(
        'files = "x.txt"', 'artefact = "a"'
    )
    pinned = pinned.replace('model = "m"', f'model = "m"\n{revision}')
    near = SCORERS.replace("[scorers.retrieval]", f"[scorers.retrieval]\n{revision}")
    for text, wanted in ((pinned, True), (pinned + near, True), (pinned + SCORERS, False)):
        study = read(tmp_path, text)
        assert isinstance(study, Study)
        assert study.pins_all == wanted


def test_neither_a_branch_nor_a_folder_pins_weights(tmp_path: Path) -> None:
    commit = "0" * 40
    assert WeightsSpec(model="org/model", revision=commit).is_pinned
    assert not WeightsSpec(model="org/model", revision="main").is_pinned
    assert not WeightsSpec(model=str(tmp_path), revision=commit).is_pinned
    assert WeightsSpec(model=str(tmp_path), artefact="a").is_pinned
    assert not WeightsSpec(model="~nobody\0/" + "x" * 5000).is_pinned


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('["listed"]', '["nobody"]', "scorers.retrieval.explainers names 'nobody', which is not among the"
         " explainers listed, token_pairs"),
        ('simulators = ["all_at_once"]', 'simulators = ["embedding"]', "scorers.ablation.simulators names"
         " 'embedding', which is not among the simulators all_at_once"),
        ('["token_pairs", "listed"]', '["listed", "listed"]', "scorers.near.explainers names one twice"),
        ("[scorers.retrieval]", "[scorers.r2]\nkind = \"retrieval\"", "scorers.r2 has a measure's name"),
        ("[scorers.ablation]", '[simulators.y_all_at_once]\nkind = "embedding"\n'
         'artefact = "all-minilm-l6-v2"\nexplainers = ["listed"]\n[scorers.x]\n'
         'kind = "ablation"\nsimulators = ["y_all_at_once"]\n'
         '[scorers.x_y]\nkind = "ablation"', "two scorers would publish scores as 'x_y_all_at_once'"),
        ("[scorers.retrieval]", "[scorers.recall]", "scorers.recall: unknown kind 'recall'; give kind ="
         " 'detection', 'fuzzing', 'retrieval', 'ablation'"),
        ('artefact = "all-minilm-l6-v2"', 'artifact = "x"', "unknown key `scorers.near.near_text.artifact`;"
         " known keys here: artefact, model, revision"),
        ("[scorers.ablation]", "[scorers.ablation]\nwidth = 2", "unknown key `scorers.ablation.width`; known"
         " keys here: kind, simulators"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_scorer_is_answered_with_what_is_known(
    before: str, after: str, message: str, tmp_path: Path
) -> None:
    assert SCORERS.count(before) == 1
    with pytest.raises(StudyError) as caught:
        read(tmp_path, GOOD + SCORERS.replace(before, after))
    assert message in str(caught.value)


def test_more_exemplars_of_bands_than_are_kept_are_refused_with_the_remedy(tmp_path: Path) -> None:
    message = refusal(tmp_path, ('kind = "token_list"', 'kind = "phrase_summary"\nbands = 5'))
    assert ".bands = 5, but with quantile_exemplars = 1 there are 4 in 4 bands" in message
    assert "raise capture.quantile_exemplars to 2" in message
