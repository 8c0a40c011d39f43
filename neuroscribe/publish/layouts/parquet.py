"""The tables as they are, in Parquet files; manifest and card describe these."""

from collections.abc import Iterator

from neuroscribe.publish.layout import LayoutFile
from neuroscribe.publish.tables import PublishedTables
from neuroscribe.study.spec import layer_key
from neuroscribe.study.stages import TABLES
from neuroscribe.tables.parquet import parquet_bytes


class Parquet:
    """A file per table, or per layer of one; each is listed by itself."""

    folder = "data"
    description = "the tables as declared below"

    def files(self, tables: PublishedTables) -> Iterator[LayoutFile]:
        """Yield every published table, a layer at a time."""
        for table, layer in tables.places:
            frame = tables.read(table, layer)
            data = parquet_bytes(frame, TABLES[table], tables.provenance)
            where = table if layer is None else f"{table}/{layer_key(layer)}"
            yield LayoutFile(f"{where}.parquet", [data], frame.height, table, layer)
