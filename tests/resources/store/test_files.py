from pathlib import Path

import pytest

from neuroscribe.errors import StoreError
from resources.store.files import Files


@pytest.mark.parametrize("root", ["foo://x", "gs://bucket/prefix", "http://x/store", "://x"])
def test_a_root_of_an_unknown_scheme_is_refused_with_those_that_are_wanted(root: str) -> None:
    with pytest.raises(StoreError, match=r"local folder or s3://bucket/prefix") as raised:
        Files(root)

    assert repr(root) in str(raised.value)


def test_a_folder_by_path_or_address_is_a_root(tmp_path: Path) -> None:
    for root in (tmp_path, str(tmp_path), tmp_path.as_uri()):
        Files(root).write("a", b"text")
        assert Files(root).read("a") == b"text"
        (tmp_path / "a").unlink()
