"""Reports of calls: of every key, or counts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NoReturn

from docshelf.errors import ArgumentValueError
from docshelf.types import DEL, Change, Diff, Diffs, Op, Report

if TYPE_CHECKING:
    from docshelf.sql.rows import Identity


class CountsReport(Report):
    """What a call with `report="counts"` did: how often, and not to which keys. So it takes no memory for each entry.

    Counts, text, HTML view, `len` (the number of entries), `changed`, `dry_run`, `refused` and `diffs` are those of the
    whole report. Whatever would name a key raises: to iterate, an index, `changes`, `inserted` and its siblings.

    Raises:
        ArgumentValueError: a key was asked for.

    Example:
        >>> shelf = DocShelf(":memory:")
        >>> report = shelf.sync({"a": 1, "b": 2}, report="counts")
        >>> report.counts, len(report), report.changed
        ({'INS': 2, 'UPD': 0, 'SKIP': 0, 'DEL': 0}, 2, True)
    """

    _names_keys = False

    def __init__(
        self,
        counts: Mapping[Op, int],
        *,
        dry_run: bool = False,
        diffs: Diffs = Diffs(),  # noqa: B008 - immutable
        refused: str | None = None,
    ) -> None:
        fields = {"dry_run": dry_run, "diffs": diffs, "refused": refused, "_counts": Counter(counts)}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def changes(self) -> NoReturn:
        """No keys: see the class."""
        raise ArgumentValueError(
            "this report has counts alone, because of report='counts'; leave that out to see which keys changed"
        )

    def __len__(self) -> int:
        return self._counts.total()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CountsReport):
            return NotImplemented
        return (self.counts, self.dry_run) == (other.counts, other.dry_run)

    def __hash__(self) -> int:
        return hash((tuple(self.counts.values()), self.dry_run))

    def __repr__(self) -> str:
        return super().__repr__().replace("<Report ", "<CountsReport ")


def deletions(
    deleted: Iterable[Identity], *, counts: bool, dry_run: bool = False, refused: str | None = None
) -> Report:
    """The report of a call that deletes.

    Args:
        deleted: what it deleted, in the order of the report.
        counts: report counts alone.
    """
    if counts:
        return CountsReport({DEL: sum(1 for _ in deleted)}, dry_run=dry_run, refused=refused)
    return Report(tuple(Change(key, DEL, of) for key, of in deleted), dry_run=dry_run, refused=refused)


class ReportSum:
    """Adds up the reports of the parts of a call.

    Attributes:
        only_counts: the sum has counts alone.
    """

    def __init__(self, *, counts: bool) -> None:
        self.only_counts = counts
        self._counts: Counter[Op] = Counter()
        self._changes: list[Change] = []
        self._diffs: list[Diff] = []

    def add(self, report: Report) -> None:
        """Add the report of the next part."""
        self._counts.update(report.counts)
        self._diffs += report.diffs
        if not self.only_counts:
            self._changes += report.changes

    def report(self) -> Report:
        """The report of the call, deletions last."""
        diffs = Diffs(self._diffs)
        if self.only_counts:
            return CountsReport(self._counts, diffs=diffs)
        return Report(tuple(sorted(self._changes, key=lambda change: change.op == DEL)), diffs=diffs)
