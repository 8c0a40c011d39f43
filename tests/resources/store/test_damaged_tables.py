"""A table's file that was cut, changed or moved is noticed; one from before checksums is read as it is."""

from pathlib import Path

import pytest

from neuroscribe.errors import StoreError
from neuroscribe.tables.columns import Table
from neuroscribe.tables.records import SIMULATIONS, TOKEN_LOOKUP
from resources.store.tables import Tables
from tests.resources.store.lookup_rows import lookup


def test_a_file_cut_short_has_no_identity_and_is_made_again(tmp_path: Path):
    tables = Tables(str(tmp_path))
    tables.write(lookup(0), "tiny", "token_lookup", 0, provenance={"identity": "abc", "inputs": "def"})
    path = tmp_path / "tiny/token_lookup/layer_00.parquet"
    stamp = tables.stamp("tiny", "token_lookup", 0)
    assert stamp is not None
    assert (stamp.identity, stamp.inputs) == ("abc", "def")
    path.write_bytes(path.read_bytes()[:-20])
    assert tables.stamp("tiny", "token_lookup", 0) is None
    assert tables.stamp("tiny", "token_lookup", 1) is None


def test_a_bit_that_flips_anywhere_in_a_table_is_noticed_when_it_is_read(tmp_path: Path):
    tables = Tables(str(tmp_path))
    tables.write(lookup(0, rows=50), "tiny", "token_lookup", 0, provenance={"dtype": "neuroscribe.crc32"})
    path = tmp_path / "tiny/token_lookup/layer_00.parquet"
    whole = path.read_bytes()
    assert tables.read("tiny", "token_lookup", 0).equals(lookup(0, rows=50))
    # Without the checksum's own name a file is as one from before: its rows are right.
    named = whole.rindex(b"neuroscribe.crc32")
    for place in {*range(0, len(whole), 97)} - {*range(named - 1, named + 18)}:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        with pytest.raises(StoreError, match=r"layer_00\.parquet: its bytes have changed .* remove the file"):
            tables.read("tiny", "token_lookup", 0)


def test_a_table_without_a_checksum_is_read_as_it_is(tmp_path: Path):
    folder = tmp_path / "tiny/token_lookup"
    folder.mkdir(parents=True)
    lookup(0).write_parquet(folder / "layer_00.parquet")
    assert Tables(str(tmp_path)).read("tiny", "token_lookup", 0).equals(lookup(0))


def test_the_content_of_a_stamp_is_that_of_the_rows_alone(tmp_path: Path):
    tables = Tables(str(tmp_path))
    for study, frame, facts in (("a", lookup(0), {}), ("b", lookup(0), {"x": 1}), ("c", lookup(0, 2), {})):
        tables.write(frame, study, "token_lookup", 0, provenance=facts)
    a, b, c = (tables.stamp(study, "token_lookup", 0) for study in "abc")
    assert a is not None
    assert b is not None
    assert c is not None
    assert a.content == b.content != c.content


def test_files_that_are_no_layer_of_the_table_are_left_alone(tmp_path: Path):
    tables = Tables(str(tmp_path))
    tables.write(lookup(0), "tiny", "token_lookup", 0, provenance={})
    for name in ("._layer_00.parquet", "backup.parquet", "layer_x.parquet"):
        (tmp_path / "tiny/token_lookup" / name).write_bytes(b"")
    assert tables.layers("tiny", "token_lookup") == [0]


def swapped(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize("table", [TOKEN_LOOKUP, SIMULATIONS], ids=lambda table: table.name)
def test_layers_that_changed_places_are_refused_with_both_names_and_made_again(tmp_path: Path, table: Table):
    tables = Tables(str(tmp_path))
    for layer in (3, 5):
        tables.write(table.frame([]), "tiny", table.name, layer, provenance={})
    swapped(*(tmp_path / f"tiny/{table.name}/layer_0{layer}.parquet" for layer in (3, 5)))
    for layer, other in ((3, 5), (5, 3)):
        finding = rf"layer_0{layer}\.parquet: holds layer {other}, not {layer} as its place says"
        with pytest.raises(StoreError, match=finding):
            tables.read("tiny", table.name, layer)
        assert tables.stamp("tiny", table.name, layer) is None


def test_files_of_another_table_or_study_are_refused_with_both_names(tmp_path: Path):
    tables = Tables(str(tmp_path))
    tables.write(lookup(0), "tiny", "token_lookup", 0, provenance={})
    tables.write(lookup(0), "other", "token_lookup", 0, provenance={})
    tables.write(SIMULATIONS.frame([]), "tiny", "simulations", 0, provenance={})
    own = tmp_path / "tiny/token_lookup/layer_00.parquet"
    for place, finding in (
        (tmp_path / "other/token_lookup/layer_00.parquet", "holds study other, not tiny"),
        (tmp_path / "tiny/simulations/layer_00.parquet", "holds table simulations, not token_lookup"),
    ):
        own.write_bytes(place.read_bytes())
        with pytest.raises(StoreError, match=finding):
            tables.read("tiny", "token_lookup", 0)
        assert tables.stamp("tiny", "token_lookup", 0) is None


def test_rows_of_another_layer_are_refused_in_files_from_before_they_named_it(tmp_path: Path):
    folder = tmp_path / "tiny/token_lookup"
    folder.mkdir(parents=True)
    lookup(5).write_parquet(folder / "layer_03.parquet")
    with pytest.raises(StoreError, match=r"layer_03\.parquet: holds rows of layer 5, not of 3"):
        Tables(str(tmp_path)).read("tiny", "token_lookup", 3)
