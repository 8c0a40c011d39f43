"""Published datasets, one per study, each replaced as a whole.

On disk `<root>/<study>/neuron_dataset` is a link that moves from one complete folder to the next. On S3 the
files lie below `<study>/neuron_dataset/<version>/`, and `<study>/neuron_dataset/manifest.json`, written last,
says which version counts (its `base`). One publisher at a time per study.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from neuroscribe.errors import StoreError
from neuroscribe.publish.dataset import rebased
from neuroscribe.publish.draft import MANIFEST
from resources.store.files import PART, Files, Stored, store_errors, sync

NAME = "neuron_dataset"


class DatasetFolders:
    """Fulfils the port `DatasetStore` below a local folder or an `s3://` prefix."""

    def __init__(self, root: str, *, endpoint_url: str | None = None) -> None:
        self.root, self.endpoint_url = root, endpoint_url

    @property
    def _files(self) -> Files:
        return Files(self.root, endpoint_url=self.endpoint_url)

    def uri(self, study: str) -> str:
        """Return the address of the study's dataset."""
        return self._files.uri(f"{study}/{NAME}")

    def check(self, study: str) -> None:
        """Raise StoreError unless a dataset of the study can be put in its place; it leaves nothing there."""
        self._refuse_foreign(study)
        if not self._files.is_local:
            return  # written as all else is
        name = uuid4().hex
        self._files.write(f"{study}/.{NAME}/{name}{PART}", b"")
        try:
            link = self._link(study, name)
            link.unlink()
        finally:
            self._files.remove(f"{study}/.{NAME}/{name}{PART}")

    @contextmanager
    def draft(self, study: str) -> Iterator[Callable[[str, Iterable[bytes]], None]]:
        """Open a draft that replaces the study's dataset when it is left without an error."""
        self._refuse_foreign(study)
        versions = f"{study}/.{NAME}" if self._files.is_local else f"{study}/{NAME}"
        version = uuid4().hex
        manifests: list[bytes] = []

        def write(path: str, chunks: Iterable[bytes]) -> None:
            if path == MANIFEST:
                manifests.append(b"".join(chunks))
                chunks = manifests[-1:]
            self._files.write_chunks(f"{versions}/{version}/{path}", chunks)

        try:
            yield write
            assert manifests, "a draft without a manifest is no dataset"
            self._publish(study, version, manifests[-1])
        except BaseException:
            with suppress(StoreError):
                self._drop(f"{versions}/{version}")
            raise
        for name in self._files.names(versions):
            if name not in (version, MANIFEST):
                self._drop(f"{versions}/{name}")

    def _publish(self, study: str, version: str, manifest: bytes) -> None:
        """Let the dataset's address lead to a version, in one step."""
        if not self._files.is_local:
            self._files.write(f"{study}/{NAME}/{MANIFEST}", rebased(manifest, f"{version}/"))
            return
        place = self._files.local_path(f"{study}/{NAME}")
        with store_errors(place, "written"):
            self._link(study, version).replace(place)
            sync(place.parent)

    def _link(self, study: str, version: str) -> Path:
        """Make a link to a version, beside the dataset's place; not every disk has links."""
        link = self._files.local_path(f"{study}/.{NAME}.{version}{PART}")
        with store_errors(link, "made a link"):
            link.symlink_to(Path(f".{NAME}") / version, target_is_directory=True)
        return link

    def _refuse_foreign(self, study: str) -> None:
        """Raise StoreError when something that is no link of ours holds the dataset's place."""
        if not self._files.is_local:
            return
        place = self._files.local_path(f"{study}/{NAME}")
        if place.exists() and not place.is_symlink():
            raise StoreError(f"{place}: was not published here; move it away and publish again")

    def _drop(self, folder: str) -> None:
        self._files.remove_folder(folder)


class Datasets(Stored, DatasetFolders):
    """The datasets of all studies, as a resource."""
