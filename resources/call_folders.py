"""The answers of all LLM calls, as a resource."""

from collections.abc import Mapping

import dagster as dg

from resources.calls import FolderCalls


class Calls(dg.ConfigurableResource):
    """Fulfils the port `CallStore` in a folder beside the tables, shared by all studies."""

    root: str
    """A local folder or `s3://bucket/prefix`."""
    endpoint_url: str | None = None
    """An S3-compatible server other than AWS."""

    def get(self, key: str) -> dict[str, object] | None:
        """Return the stored answer, or None."""
        return self._folder.get(key)

    def put(self, key: str, answer: Mapping[str, object]) -> None:
        """Store an answer atomically."""
        self._folder.put(key, answer)

    @property
    def _folder(self) -> FolderCalls:
        return FolderCalls(f"{self.root.rstrip('/')}/calls", endpoint_url=self.endpoint_url)
