"""Tables of a version's packs: for chunks that are here already, and to say which one is damaged."""

import threading

from artifactstore.backend.protocol import Backend
from artifactstore.chunking import CutFunction
from artifactstore.digest import PackId
from artifactstore.errors import ArtifactStoreError, CorruptData
from artifactstore.keys import pack_key
from artifactstore.pack.format import Table
from artifactstore.pack.reader import read_extent, read_table
from artifactstore.transfer.pieces import Content, LocalRun, StoredRun, first_chunk
from artifactstore.tree import StoredTree


class Tables:
    """Reads each table once. Any number of threads."""

    def __init__(self, tree: StoredTree, backend: Backend, *, cut: CutFunction) -> None:
        self._tree = tree
        self._backend = backend
        self._cut = cut
        self._lock = threading.Lock()
        self._tables: dict[PackId, Table] = {}

    def get(self, pack: PackId) -> Table:
        """The table of a pack that the version names.

        Raises:
            ObjectNotFound: The pack is gone.
            CorruptData: It is damaged, or the version does not name it.
            BackendError: The storage did not answer.
        """
        with self._lock:
            table = self._tables.get(pack)
        if table is None:
            row = self._tree.pack_row(pack)
            table = read_table(self._backend, pack, object_bytes=row.object_bytes, table_bytes=row.table_bytes)
            with self._lock:
                self._tables[pack] = table
        return table

    def locate_damage(self, content: Content) -> CorruptData | None:
        """Which chunk of a content is not the one its pack's table names; None where each of them is."""
        for run in content.runs:
            stored = run.stored if type(run) is LocalRun else run
            if type(stored) is StoredRun:
                try:
                    self._check(stored)
                except CorruptData as error:
                    return error
                except ArtifactStoreError:
                    return None  # what is wrong is reported without it
        return None

    def _check(self, run: StoredRun) -> None:
        table = self.get(run.pack)
        number = first_chunk(run, table)
        for digest, _ in read_extent(
            self._backend,
            run.pack,
            offset=run.offset,
            stored_length=run.stored_length,
            chunk_count=run.chunk_count,
            max_raw_length=self._cut.max_bytes,
        ):
            if digest != table.digest(number):
                span = (table.offset(number), table.offsets()[number + 1])
                what = f"chunk {number} of a pack does not have the digest that its table names"
                raise CorruptData(what, key=pack_key(run.pack), byte_range=span)
            number += 1
