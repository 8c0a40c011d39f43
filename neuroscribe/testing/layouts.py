"""A layout of many small files, to try what must hold of all layouts."""

import json
from collections.abc import Iterator

from neuroscribe.publish.layout import LayoutFile
from neuroscribe.publish.tables import PublishedTables


class NeuronFiles:
    """A JSON file per captured neuron, `0/17.json`, with its mean activation."""

    folder = "neurons"
    description = "a JSON file per neuron, by layer, with its mean activation"

    def files(self, tables: PublishedTables) -> Iterator[LayoutFile]:
        """Yield the neurons of a layer, then those of the next."""
        for layer in tables.layers("activations/statistics"):
            frame = tables.read("activations/statistics", layer)
            for neuron, mean in frame.select("neuron", "mean").iter_rows():
                data = json.dumps({"layer": layer, "neuron": neuron, "mean": mean}).encode()
                yield LayoutFile(f"{layer}/{neuron}.json", [data, b"\n"], rows=1)
