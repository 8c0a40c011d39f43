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
from neuroscribe.study.files import chosen_layers, chosen_study
from neuroscribe.study.sections import WeightsSpec
from neuroscribe.study.spec import LLMSpec, Study, layer_key, layer_of

STUDIES = Path(__file__).parents[3] / "studies"
GOOD = """
description = "two layers"
[subject]
model = "org/model"
layers = 2
neurons_per_layer = 24
[corpus]
files = "x.txt"
sequences = 100
[llm]
model = "m"
[explainers.token_pairs]
excerpts = 3
[explainers.listed]
kind = "token_list"
[simulators.all_at_once]
explainers = ["token_pairs"]
"""


def read(folder: Path, text: str, name: str = "mine.toml") -> object:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def refusal(folder: Path, *changes: tuple[str, str]) -> str:
    """The message with which the good study is refused after some changes."""
    text = GOOD
    for before, after in changes:
        assert text.count(before) == 1
        text = text.replace(before, after)
    with pytest.raises(StudyError) as caught:
        read(folder, text)
    assert str(folder / "mine.toml") in str(caught.value)
    return str(caught.value)


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
    assert "unknown key `explainers.token_pairs.excepts`; known keys here: answer, candidates" in message


def test_a_misspelt_section_is_named_with_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, ("[corpus]", "[corpse]"))
    assert "unknown key `corpse`; known keys here: capture, corpus, description, explainers, llm" in message
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
    assert len(tried) == 32
    assert {
        "sample.layers",
        "corpus.seed",
        "scoring.max_unscored_share",
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
    message = refusal(tmp_path, ('kind = "token_list"', 'kind = "token_summary"\namong = 40'))
    assert "explainers.listed: tokens = 50 exceeds among = 40; lower the first" in message


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


def test_text_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "not valid TOML" in (message := refusal(tmp_path, ("layers = 2", "layers = ")))
    assert "line 5" in message


def test_a_study_cannot_name_itself(tmp_path: Path) -> None:
    message = refusal(tmp_path, ('description = "two layers"', 'description = ""\nname = "other"'))
    assert "a study is named after its file, so remove the key" in message


def test_a_file_whose_name_cannot_name_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gpt2-xl.toml: the file's name .* 'gpt2-xl' will not do; rename"):
        read(tmp_path, GOOD, "gpt2-xl.toml")


def test_a_study_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"absent.toml: cannot be read"):
        read_study(tmp_path / "absent.toml")


def test_a_folder_without_studies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"holds no study; add a .toml file"):
        read_studies(tmp_path)


def test_an_unknown_study_is_answered_with_those_there_are(tmp_path: Path) -> None:
    read(tmp_path, GOOD)
    studies = read_studies(tmp_path)
    assert chosen_study(studies, "mine").name == "mine"
    with pytest.raises(StudyError, match="there is no study 'yours'; studies/ holds mine"):
        chosen_study(studies, "yours")


def test_one_broken_file_takes_no_other_study_down(tmp_path: Path) -> None:
    read(tmp_path, GOOD)
    (tmp_path / "broken.toml").write_text("[subject\n")
    (tmp_path / "my-own.toml").write_text(GOOD)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    studies = read_studies(tmp_path)
    assert list(studies) == ["mine"]
    assert list(studies.broken) == ["broken", "folder", "gone", "my-own"]
    with pytest.raises(StudyError, match=r"broken\.toml: not valid TOML"):
        chosen_study(studies, "broken")
    with pytest.raises(StudyError, match=r"folder\.toml: is no file"):
        chosen_study(studies, "folder")
    with pytest.raises(StudyError, match="studies/ holds broken, folder, gone, mine, my-own"):
        chosen_study(studies, "yours")


def test_a_mark_before_the_text_is_no_part_of_a_study(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert list(read_studies(tmp_path)) == ["mine"]


def test_files_that_editors_and_macos_leave_are_no_studies(tmp_path: Path) -> None:
    read(tmp_path, GOOD)
    (tmp_path / "._mine.toml").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".#mine.toml").symlink_to("user@host.1:2")
    (tmp_path / "mine.toml~").write_text("[")
    studies = read_studies(tmp_path)
    assert list(studies) == ["mine"]
    assert not studies.broken


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (".".join(["a"] * 500_000) + " = 1", "line 1 names tables within tables without end"),
        ("x = 1\n[" + " . ".join(['"a"'] * 5000) + "]", "line 2 names tables within tables without end"),
        ("a = " + "[" * 100_000, "nested without end"),
        ("a = " + "[" * 20 + "]" * 20, "21 lists or tables within each other"),
        ("a = " + "9" * 5000, "not valid TOML"),
        ('a = "' + "x" * (1 << 20) + '"', "is larger than 1,048,576 bytes"),
        ("\n".join(f"key_{n} = 1" for n in range(10_000)), "more; correct these first"),
    ],
    ids=["dotted", "quoted", "lists", "deep", "digits", "size", "keys"],
)
def test_a_file_beyond_all_bounds_is_refused_with_a_short_message(
    tmp_path: Path, text: str, finding: str
) -> None:
    with pytest.raises(StudyError, match=finding) as caught:
        read(tmp_path, text)
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("layers = 2\n", "layers = 1_000_000_000\n"),
        ("neurons_per_layer = 24", "neurons_per_layer = 20_000_000"),
        ("sequences = 100", f"sequences = {10**400}"),
        ("sequences = 100", f"sequences = 100\nseed = {10**400}"),
        ("excerpts = 3", f"excerpts = 3\ntemperature = {10**400}"),
        ("excerpts = 3", "excerpts = 3\ntemperature = inf"),
        ("explainers.listed", f"explainers.l{'i' * 200}sted"),
    ],
)
def test_numbers_and_names_beyond_any_model_are_refused_with_their_key(
    tmp_path: Path, before: str, after: str
) -> None:
    message = refusal(tmp_path, (before, after))
    assert "correct it" in message
    assert len(message) < 1000


def test_a_layer_that_is_no_small_number_is_refused(tmp_path: Path) -> None:
    read(tmp_path, GOOD)
    for given in ("9" * 5000, "-1", "2", "\u0662" * 30):
        with pytest.raises(StudyError, match=r"--layers names .*; study mine has layers 0 to 1"):
            chosen_layers(read_studies(tmp_path)["mine"], given)


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
    assert set(study._scorer_names()) == {due.scorer for due in dues(study)}


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
