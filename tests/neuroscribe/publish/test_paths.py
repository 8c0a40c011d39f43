import pytest

from neuroscribe.errors import StoreError
from neuroscribe.publish.paths import Paths


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/x",
        "..",
        "a/../../x",
        "a/../b",
        "./a",
        "a//b",
        "a/",
        "a\\b",
        "two\nlines",
        "bell\a",
        "\ud800",
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(path: str):
    with pytest.raises(
        StoreError, match="is no path inside the folder toy/ of a dataset; use a relative one"
    ):
        Paths("toy").take(path)


@pytest.mark.parametrize("path", ["a", ".a", "..a", "a..", "0/1/2.json", "with space/ü.json"])
def test_any_other_path_is_taken_once(path: str):
    paths = Paths("toy", taken=["SHA256SUMS"])
    paths.take(path)
    with pytest.raises(StoreError, match=r"two files of the dataset are called toy/"):
        paths.take(path)


def test_a_path_that_is_taken_from_the_start_is_refused():
    with pytest.raises(StoreError, match=r"two files of the dataset are called README\.md"):
        Paths(taken=["README.md"]).take("README.md")


@pytest.mark.parametrize(("first", "second"), [("a/b", "a/b/c/d"), ("a/b/c/d", "a/b")])
def test_a_file_that_is_a_folder_of_another_is_refused(first: str, second: str):
    paths = Paths("toy")
    paths.take(first)
    with pytest.raises(StoreError, match="toy/a/b would be a file and a folder of the dataset"):
        paths.take(second)


def test_files_of_one_folder_and_names_that_begin_alike_do_not_disturb_each_other():
    paths = Paths()
    for path in ("a/b", "a/c", "ab", "a/b.json", "b"):
        paths.take(path)
