import json
import resource
from pathlib import Path

import pytest

from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import fingerprint
from resources.store.calls import FolderCalls

KEY = fingerprint("a question")
ANSWER: dict[str, object] = {
    "text": "fires on 🌧 and\n\ttabs",
    "status": "ok",
    "cost_usd": None,
    "tokens": [1, 2.5],
}


def files_below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_an_answer_comes_back_as_it_was_put(tmp_path: Path):
    FolderCalls(tmp_path).put(KEY, ANSWER)
    assert FolderCalls(str(tmp_path)).get(KEY) == ANSWER


def test_a_question_that_was_never_put_has_no_answer(tmp_path: Path):
    assert FolderCalls(tmp_path / "not yet there").get(KEY) is None


def test_each_answer_is_one_file_in_a_folder_of_two_letters(tmp_path: Path):
    calls = FolderCalls(tmp_path)
    calls.put(KEY, ANSWER)
    calls.put(KEY, {**ANSWER, "text": "again"})
    assert files_below(tmp_path) == [f"{KEY[:2]}/{KEY}.json"]
    assert calls.get(KEY) == {**ANSWER, "text": "again"}


def test_half_a_character_survives(tmp_path: Path):
    calls = FolderCalls(tmp_path)
    calls.put(KEY, {"text": "\ud83d"})
    assert calls.get(KEY) == {"text": "\ud83d"}


@pytest.mark.parametrize("damage", [b'{"text": "fires o', b"", b"\xff\xfe", b'["a list"]', b"[" * 100_000])
def test_a_damaged_file_is_named_and_said_to_be_deleted(tmp_path: Path, damage: bytes):
    calls = FolderCalls(tmp_path)
    calls.put(KEY, ANSWER)
    path = tmp_path / KEY[:2] / f"{KEY}.json"
    path.write_bytes(damage)
    with pytest.raises(StoreError, match="remove it, and the call is made again") as raised:
        calls.get(KEY)
    assert str(path) in str(raised.value)


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="taken"):
        FolderCalls(tmp_path / "taken").put(KEY, ANSWER)


def test_a_write_that_breaks_off_leaves_nothing_behind(tmp_path: Path):
    calls = FolderCalls(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # a disk that is full after 4 kB
    try:
        with pytest.raises(StoreError, match=KEY):
            calls.put(KEY, {"text": "x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_below(tmp_path) == []
    assert calls.get(KEY) is None


def test_a_remote_store_keeps_answers_too():
    calls = FolderCalls("memory://calls-of-this-test")
    assert calls.get(KEY) is None
    calls.put(KEY, ANSWER)
    assert calls.get(KEY) == ANSWER


def file_of(root: Path, key: str) -> Path:
    return root / key[:2] / f"{key}.json"


def test_files_are_plain_json_with_their_own_key_and_a_checksum(tmp_path: Path):
    FolderCalls(tmp_path).put(KEY, ANSWER)
    stored = json.loads(file_of(tmp_path, KEY).read_text("ascii"))
    assert stored["key"] == KEY
    assert stored["stored"] == ANSWER
    assert len(stored["crc32"]) == 8


def test_a_bit_that_flips_anywhere_in_an_answer_is_noticed(tmp_path: Path):
    calls = FolderCalls(tmp_path)
    calls.put(KEY, ANSWER)
    path = file_of(tmp_path, KEY)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        place = bit // 8
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit % 8]) + whole[place + 1 :])
        try:
            assert calls.get(KEY) == ANSWER  # \ud83c and \ud83C are the same character
        except StoreError as error:
            assert f"{KEY}.json: damaged" in str(error)  # noqa: PT017 - not every flip changes what is said


def test_answers_that_changed_places_are_refused_with_both_names(tmp_path: Path):
    calls = FolderCalls(tmp_path)
    keys = [fingerprint(n) for n in range(3)]
    for number, key in enumerate(keys):
        calls.put(key, {"text": f"answer {number}"})
    contents = [file_of(tmp_path, key).read_bytes() for key in keys]
    for key, content in zip(keys, contents[1:] + contents[:1], strict=True):
        file_of(tmp_path, key).write_bytes(content)
    for key, other in zip(keys, keys[1:] + keys[:1], strict=True):
        with pytest.raises(StoreError, match=f"{key}.json: holds the answer to another question .{other}"):
            calls.get(key)


def test_an_answer_stored_before_there_were_checksums_is_read_as_it_is(tmp_path: Path):
    judgement = {"answer": True, "probability": 0.5, "status": "ok", "usage": {}}
    for before in (ANSWER, judgement, {"requests": ["a"], "id": "job"}, {"chat": True}):
        path = file_of(tmp_path, KEY)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(before))
        assert FolderCalls(tmp_path).get(KEY) == before


def test_a_person_may_lay_a_file_out_anew(tmp_path: Path):
    FolderCalls(tmp_path).put(KEY, ANSWER)
    path = file_of(tmp_path, KEY)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert FolderCalls(tmp_path).get(KEY) == ANSWER


def test_what_is_no_answers_file_is_not_listed(tmp_path: Path):
    FolderCalls(tmp_path).put(KEY, ANSWER)
    for name in (f"._{KEY}.json", "notes.txt", f"{KEY}.json~"):
        (tmp_path / KEY[:2] / name).write_text("")
    assert list(FolderCalls(tmp_path).keys()) == [KEY]
