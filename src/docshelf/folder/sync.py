"""`sync_folder`, and its asynchronous twin."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from docshelf.errors import ArgumentTypeError, ArgumentValueError
from docshelf.folder.known import check_name
from docshelf.folder.pieces import Making, check_splitter
from docshelf.folder.readers import Reader, check_readers
from docshelf.folder.report import FolderReport
from docshelf.folder.run import Options, sync_flow
from docshelf.folder.scan import Rules, patterns_of
from docshelf.folder.targets import FolderTarget, target_of
from docshelf.folder.text import check_encoding
from docshelf.steps import aperform, perform
from docshelf.validation import check_share

DEFAULT_MAX_FILE_BYTES: Final = 64 * 1024 * 1024


def sync_folder(
    path: str | os.PathLike[str],
    target: Any,
    *,
    name: str | None = None,
    include: str | Iterable[str] = "**/*",
    exclude: str | Iterable[str] = (),
    readers: Mapping[str, Reader | None] | None = None,
    splitter: Any = None,
    encoding: str = "utf-8",
    version: str = "",
    gitignore: bool = True,
    hidden: bool = False,
    follow_symlinks: bool = False,
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES,
    trust_mtime: bool = True,
    max_delete: float = 0.2,
    allow_mass_delete: bool = False,
    dry_run: bool = False,
    diff: bool = False,
    show_progress: bool = False,
) -> FolderReport:
    """Make a shelf hold exactly what the files of a folder say. Run it as often as you like: it does what is left.

    The source of a file's entries is `name:relative/path`. Other sources stay as they are, so that one collection can
    hold several folders and much else.

    A file is not read if its size, its time, the readers' and the splitter's settings are those of the last sync. It is
    read but not split if only its bytes are. Files go into the database some hundred at a time, each batch in one
    transaction; a run that was interrupted is simply run again. Deletions come last.

    Needs `pip install 'docshelf[folder]'`.

    Args:
        path: the folder.
        target: a `DocShelf`, which gets `docshelf.Document`s; or a store or a retriever of an adapter.
        name: what the folder's sources begin with; by default its own name. 1 to 128 bytes, no colon and no slash.
        include: patterns of files to read, as in a `.gitignore`: "*.md" means any depth.
        exclude: patterns of files and folders to leave out.
        readers: functions by suffix, beside those in the box for .txt, .text, .md, .markdown, .rst, .html, .htm, .json,
            .jsonl, .ndjson, .csv and .tsv. A function takes a `File`, which also stands for its path, and returns a
            text, a `docshelf.Document`, or several of them. None takes a reader out.
        splitter: makes pieces of documents: an object with `split_text`, or a function that takes a
            `docshelf.Document` and returns texts or documents. None stores documents as their readers made them.
        encoding: of text files without a byte order mark: a name that Python knows, or "detect".
        version: a label of yours for what readers and splitter do. Another one reads all files again. Their settings
            count without it; the body of a function does not.
        gitignore: leave out what the `.gitignore` files in the folder and below it name.
        hidden: also read files and folders whose names begin with a dot, except `.git`.
        follow_symlinks: also read what symbolic links lead to.
        max_file_bytes: larger files are not read. They are reported, and keep their entries.
        trust_mtime: False reads every file, whatever its size and time say.
        max_delete: the share of the folder's files that may vanish, 0 to 1. One file may always vanish, unless this
            is 0 or nothing would be left.
        allow_mass_delete: True lets any number of files vanish.
        dry_run: return the same report, and write nothing.
        diff: fill `report.changes.diffs`: the texts of changed files before and after.
        show_progress: show a progress bar over the files that are read.

    Raises:
        MassDeleteError: the folder is not there any more, or has lost more than `max_delete` of its files. Nothing was
            written. A dry run says it in `refused`, unless there is no folder.
        ArgumentTypeError, ArgumentValueError: there is no such folder, or an argument is invalid.
        ConfigurationError: the extra is not installed, or a folder cannot be synced into the target.
        What the target raises, as `DocShelf.sync`; batches that were written stay.

    Example:
        >>> from pathlib import Path
        >>> Path("handbook").mkdir()
        >>> _ = Path("handbook/guide.md").write_text("Hello.")
        >>> shelf = DocShelf(":memory:")
        >>> sync_folder("handbook", shelf).counts["INS"], shelf.get("handbook:guide.md").text
        (1, 'Hello.')
    """
    into = target_of(target)
    options = _options(
        path,
        into,
        name=name,
        include=include,
        exclude=exclude,
        readers=readers,
        splitter=splitter,
        encoding=encoding,
        version=version,
        gitignore=gitignore,
        hidden=hidden,
        follow_symlinks=follow_symlinks,
        max_file_bytes=max_file_bytes,
        trust_mtime=trust_mtime,
        max_delete=max_delete,
        allow_mass_delete=allow_mass_delete,
        dry_run=dry_run,
        diff=diff,
        show_progress=show_progress,
    )
    return perform(sync_flow(into, options))


async def async_folder(
    path: str | os.PathLike[str],
    target: Any,
    *,
    name: str | None = None,
    include: str | Iterable[str] = "**/*",
    exclude: str | Iterable[str] = (),
    readers: Mapping[str, Reader | None] | None = None,
    splitter: Any = None,
    encoding: str = "utf-8",
    version: str = "",
    gitignore: bool = True,
    hidden: bool = False,
    follow_symlinks: bool = False,
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES,
    trust_mtime: bool = True,
    max_delete: float = 0.2,
    allow_mass_delete: bool = False,
    dry_run: bool = False,
    diff: bool = False,
    show_progress: bool = False,
) -> FolderReport:
    """As `sync_folder`."""
    into = target_of(target)
    options = _options(
        path,
        into,
        name=name,
        include=include,
        exclude=exclude,
        readers=readers,
        splitter=splitter,
        encoding=encoding,
        version=version,
        gitignore=gitignore,
        hidden=hidden,
        follow_symlinks=follow_symlinks,
        max_file_bytes=max_file_bytes,
        trust_mtime=trust_mtime,
        max_delete=max_delete,
        allow_mass_delete=allow_mass_delete,
        dry_run=dry_run,
        diff=diff,
        show_progress=show_progress,
    )
    return await aperform(sync_flow(into, options))


def _options(
    path: str | os.PathLike[str],
    target: FolderTarget,
    *,
    name: str | None,
    include: str | Iterable[str],
    exclude: str | Iterable[str],
    readers: Mapping[str, Reader | None] | None,
    splitter: Any,
    encoding: str,
    version: str,
    gitignore: bool,
    hidden: bool,
    follow_symlinks: bool,
    max_file_bytes: int,
    trust_mtime: bool,
    max_delete: float,
    allow_mass_delete: bool,
    dry_run: bool,
    diff: bool,
    show_progress: bool,
) -> Options:
    """The checked arguments of a call. Raises as `sync_folder`."""
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"path is a {type(path).__name__}; give the path of a folder")
    root = Path(path)
    check_share(max_delete, may_be_none=False)
    if type(max_file_bytes) is not int or max_file_bytes < 1:
        raise ArgumentValueError(f"max_file_bytes={max_file_bytes!r:.60}: give a number of bytes, 1 or more")
    if not isinstance(version, str):
        raise ArgumentTypeError(f"version is a {type(version).__name__}; give text")
    checked = check_readers(readers)
    patterns = patterns_of(include, "include")
    rules = Rules(patterns, patterns_of(exclude, "exclude"), frozenset(checked), gitignore, hidden, follow_symlinks)
    making = Making(
        checked, check_splitter(splitter), check_encoding(encoding), version, target.settings, target.convert
    )
    return Options(
        root,
        check_name(root.resolve().name if name is None else name),
        rules,
        making,
        max_file_bytes,
        trust_mtime,
        max_delete,
        allow_mass_delete,
        dry_run,
        diff,
        show_progress,
    )
