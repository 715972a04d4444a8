"""More records than memory holds, in order: sorted runs in temporary files, merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, Any, Final

import orjson

from docshelf.errors import DocShelfError

_RUN_RECORDS: Final = 100_000


class SortedRecords:
    """Tuples of texts and numbers, which are read back in their order. A context manager, as it may hold files."""

    def __init__(self, run_records: int = _RUN_RECORDS) -> None:
        self._run_records = run_records
        self._records: list[tuple[Any, ...]] = []
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> SortedRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, records: Iterable[tuple[Any, ...]]) -> None:
        """Add records.

        Raises:
            DocShelfError: the temporary file cannot be written.
        """
        self._records += records
        if len(self._records) < self._run_records:
            return
        self._records.sort()
        try:
            file = tempfile.TemporaryFile(prefix="docshelf-")  # noqa: SIM115 - __exit__ closes it
            self._files.append(file)
            file.writelines(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in self._records)
            file.flush()
        except OSError as exc:
            raise DocShelfError(
                f"a temporary file for the order of the entries cannot be written ({exc}); make room in the folder of "
                "temporary files, or name another in TMPDIR"
            ) from exc
        self._records = []

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        self._records.sort()
        return heapq.merge(*map(_read, self._files), self._records)


def _read(file: IO[bytes]) -> Iterator[tuple[Any, ...]]:
    file.seek(0)
    for line in file:
        yield tuple(orjson.loads(line))
