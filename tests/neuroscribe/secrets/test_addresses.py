"""Addresses with a secret are found, refused in studies, and shown without it."""

from pathlib import Path

import pytest

from neuroscribe.errors import StudyError
from neuroscribe.kinds import KnownStudy
from neuroscribe.secrets.addresses import fault_of, hidden, passwords_in
from neuroscribe.study.files import read_study

TELLING = {
    "http://me:HUSH@host/v1": "http://[hidden]@host/v1",
    "https://HUSHHUSH1@host": "https://[hidden]@host",
    "https://me:HU@SH@host/a@b": "https://[hidden]@host/a@b",
    "https://me:HU/SH@host": "https://[hidden]@host",
    "s3://AKIA:HUSH@bucket/prefix": "s3://[hidden]@bucket/prefix",
    "s3://AKIA:12/HUSH/x@bucket/prefix": "s3://[hidden]@bucket/prefix",
    "https://h/v1?api_key=HUSH": "https://h/v1?api_key=[hidden]",
    "https://h/v1?api-version=2&key=HUSH&x=1": "https://h/v1?api-version=2&key=[hidden]&x=1",
    "https://h/v1?apiKey=HUSH": "https://h/v1?apiKey=[hidden]",
    "https://h/v1?subscription-key=HUSH": "https://h/v1?subscription-key=[hidden]",
    "https://h/b?se=1&sig=HUSH": "https://h/b?se=1&sig=[hidden]",
    "https://h/b?X-Amz-Signature=HUSH": "https://h/b?X-Amz-Signature=[hidden]",
    "https://h/b?X-Amz-Credential=HUSH": "https://h/b?X-Amz-Credential=[hidden]",
    "https://h/b?AWSAccessKeyId=HUSH": "https://h/b?AWSAccessKeyId=[hidden]",
    "https://h/#access_token=HUSH": "https://h/#access_token=[hidden]",
    "https://h/?api%5Fkey=HUSH": "https://h/?api%5Fkey=[hidden]",
}
INNOCENT = [
    "s3://bucket/a@b.txt",
    "s3://bucket/prefix?versionId=3",
    "http://[::1]:8000/a@b",
    "https://host:8000/accounts/@cf/model",
    "https://host/v1?api-version=2025-01-01",
    "https://host/?keyboard=de&max_tokens=7&sort_key=name&partition-key=3&monkey=1",
    "see ssh://git@host/x, or write to me@host",
    "folder/key=value/*.txt",
    "",
]


@pytest.mark.parametrize("address", TELLING)
def test_an_address_with_a_secret_is_found_and_shown_without_it(address: str):
    assert hidden(address) == TELLING[address]
    fault = fault_of(address)
    assert fault is not None
    assert "HUSH" not in fault
    assert all("HU" in each for each in passwords_in(address))
    assert hidden(f'cannot reach "{address}", try again') == f'cannot reach "{TELLING[address]}", try again'


@pytest.mark.parametrize("address", INNOCENT)
def test_an_address_without_one_is_taken(address: str):
    assert fault_of(address) is None


@pytest.mark.parametrize("address", [*INNOCENT[:6], INNOCENT[-2]])
def test_an_address_without_one_is_shown_as_it_is(address: str):
    assert hidden(address) == address


STUDY = Path(__file__).parents[3] / "studies" / "embedded.toml"


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("[llm]", '[llm]\nbase_url = "http://me:HUSH@host/v1"'),
        ("[llm]", '[llm]\nbase_url = "https://host/v1?api_key=HUSH"'),
        ("[corpus]", '[corpus]\nfiles = "s3://AKIA:HUSH@bucket/*.txt"'),
        ("[subject]", '[subject]\nrevision = "https://me:HUSH@hub/model"'),
        ("[subject]", '[subject]\nunknown = "https://me:HUSH@hub/model"'),
        ("description = ", 'description = "see https://me:HUSH@host" #'),
    ],
)
def test_a_study_that_names_a_secret_is_refused_without_showing_it(line: str, instead: str, tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(STUDY.read_text(encoding="utf-8").replace(line, instead, 1), encoding="utf-8")
    with pytest.raises(StudyError, match=r"mine\.toml: .*take it out \(keys are read from") as refused:
        read_study(path, KnownStudy)
    chain = f"{refused.value} {refused.value.__cause__}"
    assert "HUSH" not in chain
