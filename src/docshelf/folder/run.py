"""One sync of a folder, as a flow: what is read, what is written, what is deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

from docshelf.display.progress import progress_bar
from docshelf.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    MassDeleteError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from docshelf.folder.diffs import file_diffs, old_texts
from docshelf.folder.files import File, has_changed, read_file, settled_time
from docshelf.folder.known import Known, fingerprint_from, read_known
from docshelf.folder.pieces import Making, Piece
from docshelf.folder.report import FileOp, FileOutcome, FolderReport, in_order, refusal
from docshelf.folder.scan import Found, Rules, Scan, reason_of, scan, suffix_of
from docshelf.folder.targets import Content, FolderTarget
from docshelf.folder.text import UnreadableError
from docshelf.moving.pages import pages
from docshelf.steps import Call, Compute, Flow
from docshelf.types import SKIP, Change, Diff, Diffs, Report

# What is read, written and committed together. A run that is killed reads so much again.
_BATCH_FILES: Final = 200
_BATCH_BYTES: Final = 8 * 1024 * 1024
# What a target raises of documents that it cannot store. Nothing of them was written.
_CANNOT_BE_STORED: Final = (ArgumentTypeError, ArgumentValueError, UnsupportedValueError, ValueTooLargeError)


@dataclass(frozen=True)
class Options:
    """The checked arguments of a call.

    Attributes:
        root: the folder.
        name: what the folder's sources begin with.
        rules: which files are read.
        making: how they become documents.
    """

    root: Path
    name: str
    rules: Rules
    making: Making
    max_file_bytes: int
    trust_mtime: bool
    max_delete: float
    allow_mass_delete: bool
    dry_run: bool
    diff: bool
    show_progress: bool


@dataclass
class _Made:
    """What was read of one file.

    Attributes:
        known: the file as the sync leaves it.
        is_new: no sync has written it.
        before: the file whose entries it takes over.
        pieces: its documents; None if its bytes and settings are those of the last sync.
        reason: why it could not be read; "" if it was.
    """

    known: Known
    is_new: bool
    before: Known | None = None
    pieces: list[Piece] | None = None
    reason: str = ""


def sync_flow(target: FolderTarget, options: Options) -> Flow[FolderReport]:
    """Sync a folder."""
    return (yield from _Run(target, options).run())


class _Run:
    """One sync of a folder."""

    def __init__(self, target: FolderTarget, options: Options) -> None:
        self._target = target
        self._options = options
        self._outcomes: list[FileOutcome] = []
        self._changes: list[Change] = []
        self._diffs: list[Diff] = []
        self._further: Counter[str] = Counter()
        self._unfinished = False
        self._ids: set[str] = set()
        self._settings = {suffix: options.making.settings(suffix) for suffix in options.making.readers}

    def run(self) -> Flow[FolderReport]:
        options = self._options
        known = yield from read_known(self._target.shelf, options.name)
        found: Scan = yield Compute(self._scan, bool(known))
        self._ids = {one.id for one in known.values()}
        for name, reason in found.failures.items():
            self._outcomes.append(FileOutcome(name, "FAIL", f"{options.name}:{name}", reason))
        # What another file has taken over is left of a run that was killed.
        left_over = [one for one in known.values() if one.gone and one.name not in found.files]
        known = {name: one for name, one in known.items() if not one.gone}
        vanished = {
            name: one for name, one in known.items() if name not in found.files and not found.is_out_of_reach(name)
        }
        moves: dict[str, Known] = yield Compute(self._moves, found, known, vanished)
        for old in moves.values():
            del vanished[old.name]
        refused = None
        if not options.allow_mass_delete:
            refused = refusal(options.name, len(known), sorted(vanished), len(found.files), options.max_delete)
            if refused is not None and not options.dry_run:
                raise MassDeleteError(refused)
        trusted = {name: known[name] for name, one in found.files.items() if self._is_trusted(one, known.get(name))}
        wrong: set[str] = yield from self._target.changed(
            {one.source: fingerprint_from(one.sha256, one.settings) for one in trusted.values()}
        )
        unread = []
        for name, one in found.files.items():
            if name in trusted and (source := trusted[name].source) not in wrong:
                self._outcomes.append(FileOutcome(name, "SKIP", source))
            else:
                unread.append(one)
        with progress_bar(len(unread), "reading", show=options.show_progress, unit="file") as on_progress:
            for batch in pages(unread, attrgetter("size"), most=_BATCH_FILES, most_bytes=_BATCH_BYTES):
                made: list[_Made] = yield Compute(self._make, batch, known, moves, wrong)
                yield from self._take(made)
                on_progress(len(batch))
        yield from self._remove([*vanished.values(), *left_over])
        self._outcomes += [FileOutcome(one.name, "DEL", one.source) for one in vanished.values()]
        changes = Report(tuple(self._changes), dry_run=options.dry_run, diffs=Diffs(self._diffs), refused=refused)
        return FolderReport(
            in_order(self._outcomes),
            changes,
            options.dry_run,
            refused,
            dict(sorted(found.without_reader.items())),
            found.links,
            dict(self._further),
            self._unfinished,
        )

    def _source(self, found: Found) -> str:
        return f"{self._options.name}:{found.name}"

    def _scan(self, has_files: bool) -> Scan:
        """The files of the folder.

        Raises:
            MassDeleteError: there is no such folder, but there are entries of its files.
            ArgumentValueError: there is no such folder.
        """
        root = self._options.root
        reason = None
        if not root.is_dir():
            reason = "is no folder" if root.exists() else "does not exist"
        else:
            found = scan(root, self._options.rules)
            if "" in found.failures:
                reason = f"cannot be read: {found.failures['']}"
        if reason is None:
            return found
        if has_files:
            raise MassDeleteError(
                f"the folder {str(root)!r} {reason}, and the entries of its files {self._options.name!r} stay as they "
                "are; check the path, and that its disk is mounted"
            )
        raise ArgumentValueError(f"the folder {str(root)!r} {reason}; give the path of a folder")

    # Which files are read

    def _is_trusted(self, found: Found, last: Known | None) -> bool:
        """True if size and time say that a file is as the last sync read it, under the present settings."""
        return (
            last is not None
            and self._options.trust_mtime
            and bool(last.sha256)
            and last.mtime_ns == found.mtime_ns
            and last.size == found.size
            and last.settings == self._settings[found.suffix]
        )

    def _moves(self, found: Scan, known: Mapping[str, Known], vanished: Mapping[str, Known]) -> dict[str, Known]:
        """New files that have the bytes of a file that is gone, each with that file."""
        lost: dict[tuple[int, str], list[Known]] = {}
        for name in sorted(vanished, reverse=True):
            one = vanished[name]
            if one.sha256 and one.size:
                lost.setdefault((one.size, one.sha256), []).append(one)
        sizes = {size for size, _ in lost}
        moves = {}
        for name, new in found.files.items():
            if name not in known and new.size in sizes:
                try:
                    file = read_file(new, self._options.making.encoding, self._options.max_file_bytes)
                except (OSError, UnreadableError):
                    continue  # said when it is read for its documents
                olds = lost.get((len(file.data), file.sha256))
                if olds:
                    moves[name] = olds.pop()
        return moves

    # Reading

    def _make(
        self, batch: Sequence[Found], known: Mapping[str, Known], moves: Mapping[str, Known], wrong: set[str]
    ) -> list[_Made]:
        """Read some files, and make the documents of those that changed."""
        return [self._made(found, known.get(found.name), moves.get(found.name), wrong) for found in batch]

    def _made(self, found: Found, last: Known | None, before: Known | None, wrong: set[str]) -> _Made:
        source = self._source(found)
        file_id = last.id if last is not None else before.id if before is not None else self._new_id(source)
        one = Known(found.name, source, file_id)
        is_new = last is None
        try:
            file, settings = self._read(found), self._settings[found.suffix]
            now = one._replace(sha256=file.sha256, settings=settings, size=len(file.data), mtime_ns=settled_time(file))
            if last is not None and source not in wrong and (last.sha256, last.settings) == (now.sha256, settings):
                return _Made(now, is_new)
            return _Made(now, is_new, before, self._pieces(file, now))
        except UnreadableError as exc:
            return _Made(one, is_new, reason=str(exc))
        except OSError as exc:
            return _Made(one, is_new, reason=reason_of(exc))

    def _read(self, found: Found) -> File:
        return read_file(found, self._options.making.encoding, self._options.max_file_bytes)

    def _pieces(self, file: File, now: Known) -> list[Piece]:
        pieces = self._options.making.pieces(file, now.source, now.id)
        # A reader of the caller's may have opened the path.
        if has_changed(file):
            raise UnreadableError("it changes while it is read; the next run reads it again")
        return pieces

    def _new_id(self, source: str) -> str:
        """An id that no other file has. A file that was moved away from here keeps the id of this place."""
        file_id, number = source, 1
        while file_id in self._ids:
            number += 1
            file_id = f"{source}~{number}"
        self._ids.add(file_id)
        return file_id

    # Writing

    def _take(self, made: Sequence[_Made]) -> Flow[None]:
        """Write what was read of some files."""
        for one in made:
            if one.reason:
                self._fail(one, one.reason)
        same = {one.known.source: one for one in made if not one.reason and one.pieces is None}
        fingerprints = {source: fingerprint_from(one.known.sha256, one.known.settings) for source, one in same.items()}
        wrong: set[str] = yield from self._target.changed(fingerprints)
        for source in wrong:
            yield Compute(self._add_pieces, same.pop(source))
        yield from self._note(list(same.values()))
        yield from self._write([one for one in made if not one.reason and one.pieces is not None])

    def _add_pieces(self, one: _Made) -> None:
        """Make the documents of a file whose bytes are the same, but whose entries are not."""
        name = one.known.name
        found = Found(name, str(self._options.root / name), 0, 0, suffix_of(name))
        try:
            file = self._read(found)
            if file.sha256 != one.known.sha256:
                raise UnreadableError("it changes while it is read; the next run reads it again")
            one.pieces = self._pieces(file, one.known)
        except UnreadableError as exc:
            self._fail(one, str(exc))
        except OSError as exc:
            self._fail(one, reason_of(exc))

    def _note(self, same: Sequence[_Made]) -> Flow[None]:
        """Store size and time of files that have other ones, but the same bytes."""
        if same and not self._options.dry_run:
            notes = {one.known.source: one.known.note for one in same}
            yield Call(self._target.shelf, "conditional_mset", [], notes=notes)
        self._outcomes += [FileOutcome(one.known.name, "SKIP", one.known.source) for one in same]

    def _write(self, made: Sequence[_Made]) -> Flow[None]:
        """Write the documents of files. If one of them cannot be stored, the others are."""
        if not made:
            return
        contents = [Content(one.known.source, one.pieces or ()) for one in made]
        olds = [one.before for one in made if one.before is not None]
        try:
            report = yield from self._write_contents(made, contents, olds)
        except _CANNOT_BE_STORED as exc:
            if len(made) == 1:
                self._fail(made[0], str(exc))
                return
            for one in made:
                yield from self._write([one])
            return
        self._add(report)
        written = {change.source for change in report if change.op != SKIP}
        for one in made:
            known = one.known
            op: FileOp = "UPD"
            if one.before is not None:
                op = "MOVE"
            elif one.is_new:
                op = "INS"
            elif known.source not in written:
                op = "SKIP"
            moved_from = one.before.name if one.before is not None else ""
            self._outcomes.append(FileOutcome(known.name, op, known.source, moved_from=moved_from))
        if olds and not self._options.dry_run:
            yield from self._target.remove([old.source for old in olds], dry_run=False)

    def _write_contents(
        self, made: Sequence[_Made], contents: Sequence[Content], olds: Sequence[Known]
    ) -> Flow[Report]:
        options, shelf = self._options, self._target.shelf
        gone = {old.source: old._replace(sha256="", gone=True).note for old in olds}
        notes = {one.known.source: one.known.note for one in made}
        texts: dict[tuple[str, str], str] = {}
        if options.diff:
            sources = [one.known.source for one in made if not one.is_new]
            texts = yield Compute(old_texts, shelf, (yield Call(shelf, "source_entries", sources)))
        if self._target.writes_notes_last and not options.dry_run:
            # A run that is killed must not leave documents that no later run knows as the folder's.
            marks = {one.known.source: one.known._replace(sha256="").note for one in made if one.is_new}
            yield Call(shelf, "conditional_mset", [], notes={**marks, **gone})
        report: Report = yield from self._target.write(
            contents, {**notes, **gone}, dry_run=options.dry_run, diff=options.diff
        )
        if options.diff:
            self._diffs += [*report.diffs, *(yield Compute(file_diffs, report, contents, texts))]
        return report

    def _remove(self, gone: Sequence[Known]) -> Flow[None]:
        """Delete the entries of files that are gone."""
        sources = sorted(one.source for one in gone)
        for start in range(0, len(sources), _BATCH_FILES):
            batch = sources[start : start + _BATCH_FILES]
            self._add((yield from self._target.remove(batch, dry_run=self._options.dry_run)))

    def _add(self, report: Report) -> None:
        self._changes += report.changes
        self._further.update(report._further)
        self._unfinished |= getattr(report, "unfinished", False)

    def _fail(self, one: _Made, reason: str) -> None:
        one.reason = reason
        self._outcomes.append(FileOutcome(one.known.name, "FAIL", one.known.source, reason))
