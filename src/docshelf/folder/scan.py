"""Finds the files of a folder: which of them are read, and which are there but out of reach."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from docshelf.errors import ArgumentTypeError, ConfigurationError
from docshelf.validation import MAX_SOURCE_BYTES

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_IGNORE_FILE: Final = ".gitignore"
_EVERYTHING: Final = ("**/*",)


class Found(NamedTuple):
    """A file of the folder.

    Attributes:
        name: its path below the folder, with forward slashes.
        path: where it is.
        size: in bytes.
        mtime_ns: when it was last modified, in nanoseconds.
        suffix: the last suffix of its name in lower case, with the dot; "" if it has none.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    suffix: str


@dataclass
class Scan:
    """What was found.

    Attributes:
        files: those with a reader, by name, in order.
        failures: why a file or a folder could not be listed, by name. A folder's name ends with a slash, and all that
            was known below it counts as out of reach; "" is the folder itself.
        without_reader: how many files have no reader, by suffix.
        links: how many symbolic links were not followed.
    """

    files: dict[str, Found] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    without_reader: Counter[str] = field(default_factory=Counter)
    links: int = 0

    def is_out_of_reach(self, name: str) -> bool:
        """True if a file may be there although it was not found: it or a folder above it could not be read."""
        return name in self.failures or any(
            failed.endswith("/") and name.startswith(failed) for failed in self.failures
        )


@dataclass(frozen=True)
class Rules:
    """Which files are read.

    Attributes:
        include, exclude: patterns as in a `.gitignore`.
        suffixes: the suffixes that have readers, in lower case; "" stands for files without a suffix.
        gitignore: leave out what the `.gitignore` files of the folder and below it name.
        hidden: also read files and folders whose names begin with a dot. `.git` is never read.
        follow_symlinks: also read what symbolic links lead to, each folder once.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...]
    suffixes: Collection[str]
    gitignore: bool = True
    hidden: bool = False
    follow_symlinks: bool = False


def patterns_of(value: Any, name: str) -> tuple[str, ...]:
    """Patterns as a tuple: of one text or of several.

    Raises:
        ArgumentTypeError: one of them is no text.
    """
    patterns = (value,) if isinstance(value, str) else value
    if not isinstance(patterns, Iterable):
        raise ArgumentTypeError(f"{name} is a {type(value).__name__}; give a pattern, or a list of patterns")
    listed = tuple(patterns)
    for pattern in listed:
        if not isinstance(pattern, str):
            raise ArgumentTypeError(f"{name} has a {type(pattern).__name__}; a pattern is text, as in a .gitignore")
    return listed


def scan(root: Path, rules: Rules) -> Scan:
    """The files below a folder that the rules do not leave out.

    Raises:
        ConfigurationError: pathspec is not installed, or a pattern is invalid.
    """
    walk = _Walk(root, rules)
    walk.run()
    return walk.found


class _Walk:
    def __init__(self, root: Path, rules: Rules) -> None:
        self.found = Scan()
        self._root = root
        self._rules = rules
        self._include = None if rules.include == _EVERYTHING else matcher(rules.include, "include")
        self._exclude = matcher(rules.exclude, "exclude") if rules.exclude else None
        self._visited: set[tuple[int, int]] = set()

    def run(self) -> None:
        # A stack, as a tree may be deeper than Python calls functions. Links come last: a folder that is here itself
        # is listed under its own name.
        folders: list[tuple[str, Path, tuple[_Ignore, ...]]] = [("", self._root, ())]
        links: list[tuple[str, Path, tuple[_Ignore, ...]]] = []
        while folders or links:
            name, path, ignores = (folders or links).pop()
            try:
                for below in self._list(name, path, ignores):
                    (links if below[3] else folders).append(below[:3])
            except OSError as exc:
                self.found.failures[name] = reason_of(exc)
        self.found.files = dict(sorted(self.found.files.items()))

    def _list(
        self, name: str, path: Path, ignores: tuple[_Ignore, ...]
    ) -> Iterator[tuple[str, Path, tuple[_Ignore, ...], bool]]:
        """Take the files of one folder; yields the folders in it."""
        if self._rules.follow_symlinks:
            status = path.stat()
            place = status.st_dev, status.st_ino
            if place in self._visited:
                return
            self._visited.add(place)
        with os.scandir(path) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        if self._rules.gitignore and any(entry.name == _IGNORE_FILE for entry in entries):
            lines = (path / _IGNORE_FILE).read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
            ignores = (*ignores, _Ignore(name, matcher(filter(_is_pattern, lines), f"{name}{_IGNORE_FILE}")))
        for entry in entries:
            below = f"{name}{entry.name}"
            try:
                is_link = entry.is_symlink()
                if entry.is_dir(follow_symlinks=is_link):
                    if self._takes_folder(entry.name, below, ignores, is_link):
                        yield f"{below}/", Path(entry.path), ignores, is_link
                else:
                    suffix = suffix_of(entry.name)
                    if self._takes_file(entry.name, below, suffix, ignores, is_link):
                        self._take(entry, below, suffix)
            except OSError as exc:
                self.found.failures[below] = reason_of(exc)

    def _takes_folder(self, own: str, below: str, ignores: tuple[_Ignore, ...], is_link: bool) -> bool:
        if own == ".git" or (own.startswith(".") and not self._rules.hidden):
            return False
        if self._is_left_out(f"{below}/", ignores):
            return False
        return self._follows(is_link)

    def _takes_file(self, own: str, below: str, suffix: str, ignores: tuple[_Ignore, ...], is_link: bool) -> bool:
        if own.startswith(".") and not self._rules.hidden:
            return False
        if self._is_left_out(below, ignores) or not (self._include is None or self._include(below)):
            return False
        if suffix not in self._rules.suffixes:
            self.found.without_reader[suffix] += 1
            return False
        return self._follows(is_link)

    def _follows(self, is_link: bool) -> bool:
        self.found.links += is_link and not self._rules.follow_symlinks
        return not is_link or self._rules.follow_symlinks

    def _is_left_out(self, name: str, ignores: tuple[_Ignore, ...]) -> bool:
        if self._exclude is not None and self._exclude(name):
            return True
        if not ignores:
            return False
        # The rules of the deepest folder win.
        return next((verdict for one in reversed(ignores) if (verdict := one.verdict(name)) is not None), False)

    def _take(self, entry: os.DirEntry[str], name: str, suffix: str) -> None:
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            return  # a pipe would block whoever opens it
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            self.found.failures[name] = "its name is not UTF-8; rename it"
            return
        if size > MAX_SOURCE_BYTES - 256:
            limit = f"{MAX_SOURCE_BYTES - 256:,} bytes are the limit"
            self.found.failures[name] = f"its path below the folder has {size:,} bytes, and {limit}; shorten it"
            return
        self.found.files[name] = Found(name, entry.path, status.st_size, status.st_mtime_ns, suffix)


class _Ignore:
    """The rules of one `.gitignore`."""

    def __init__(self, folder: str, matches: Callable[[str], bool | None]) -> None:
        self._start = len(folder)
        self._matches = matches

    def verdict(self, name: str) -> bool | None:
        """True if a file or folder is left out, False if a later rule takes it in again, None if no rule names it."""
        return self._matches(name[self._start :])


def matcher(lines: Iterable[str], what: str) -> Callable[[str], bool | None]:
    """What the last pattern that matches a name says; None where none does.

    Raises:
        ConfigurationError: pathspec is not installed, or a pattern is invalid.
    """
    try:
        from pathspec import GitIgnoreSpec
    except ModuleNotFoundError as exc:
        raise ConfigurationError("docshelf.folder needs pathspec: pip install 'docshelf[folder]'") from exc
    try:
        spec: GitIgnoreSpec = GitIgnoreSpec.from_lines(lines)
    except ValueError as exc:
        raise ConfigurationError(f"{what} has an invalid pattern: {exc}") from exc

    def verdict(name: str) -> bool | None:
        return spec.check_file(name).include

    return verdict


def _is_pattern(line: str) -> bool:
    """True for a line that git takes. It passes over the others in silence."""
    try:
        matcher([line], "")
    except ConfigurationError as exc:
        return not isinstance(exc.__cause__, ValueError)
    return True


def suffix_of(name: str) -> str:
    """The last suffix of a file's name in lower case, with the dot; "" if it has none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a path object costs more than the scan of a file


def reason_of(exc: OSError) -> str:
    """What an error of the system says, without the path."""
    return exc.strerror or type(exc).__name__
