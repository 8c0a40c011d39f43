"""Whatever a study file holds, it is a study or one StudyError of bounded length."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuroscribe.errors import StudyError
from neuroscribe.kinds import read_study
from neuroscribe.study.stages import stage_identity, stages_of

STUDIES = Path(__file__).parents[2] / "studies"
TEXTS = [path.read_text(encoding="utf-8") for path in sorted(STUDIES.glob("*.toml"))]
VALUES = [
    "1", "-1", "0", "1_000_000_000", "9" * 400, "9" * 5000, "1e400", "inf", "nan", "true", '""', '"all"',
    "[]", "[0, 1]", "{}", "{kind = 1}", "[" * 50 + "]" * 50, "1979-05-27", "07:32:00", '"\\u0000"',
    "'''\n'''", "x" * 3000, '"' + "y" * 3000 + '"', "{a.b.c.d.e.f.g.h.i.j.k = 1}",
]  # fmt: skip
LINES = [
    "[subject]",
    "[[subject]]",
    "[explainers]",
    "[explainers.x.y]",
    "[simulators.token_list]",
    "= 1",
    "[",
    "#",
]
"""What may stand in a line of its own."""
quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "mine.toml"


def is_study_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        study = read_study(path)
    except StudyError as error:
        assert len(str(error)) < 20_000  # noqa: PT017 - both ends are right ones
    else:
        assert all(stage_identity(study, name) for name in stages_of(study))


@st.composite
def changed(draw: Any) -> bytes:
    """A shipped study with some lines replaced, doubled, moved, left out or made of odd parts."""
    lines = draw(st.sampled_from(TEXTS)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        key = lines[place].partition("=")[0]
        other = lines[draw(st.integers(0, len(lines) - 1))]
        odd = draw(st.one_of(st.sampled_from(LINES), st.text(max_size=20)))
        value = f"{key} = {draw(st.sampled_from(VALUES))}"
        lines[place : place + draw(st.integers(0, 1))] = [draw(st.sampled_from([value, other, odd]))]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def flipped(draw: Any) -> bytes:
    """A shipped study with some bytes replaced, or cut off."""
    data = bytearray(draw(st.sampled_from(TEXTS)).encode())
    for _ in range(draw(st.integers(1, 5))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(content=changed())
@quick
def test_a_study_with_changed_lines_is_a_study_or_refused(path: Path, content: bytes) -> None:
    is_study_or_refused(path, content)


@given(content=flipped())
@quick
def test_a_study_with_changed_bytes_is_a_study_or_refused(path: Path, content: bytes) -> None:
    is_study_or_refused(path, content)


@given(content=st.binary(max_size=200))
@quick
def test_bytes_of_any_kind_are_refused(path: Path, content: bytes) -> None:
    is_study_or_refused(path, content)


@given(
    part=st.sampled_from(["a.", '"a".', "[", "{a=", "[[a]]\n", "a=1\n", "'", '"', "\\", "#", "a . ", "-"]),
    times=st.integers(1, 3000),
)
@quick
def test_one_part_over_and_over_is_refused_at_once(path: Path, part: str, times: int) -> None:
    is_study_or_refused(path, (part * times).encode())
