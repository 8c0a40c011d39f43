"""Files of a folder of studies: which are read, how much of them, and what is said of the others."""

from pathlib import Path

import pytest

from neuroscribe.errors import StudyError
from neuroscribe.kinds import read_studies, read_study
from neuroscribe.study.files import chosen_layers, chosen_study
from tests.neuroscribe.study.small_study import GOOD, read, refusal


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
