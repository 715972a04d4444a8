"""Real text that is on every machine with Python: its reference, its library's sources, then those of its packages.

Nothing is repeated, so compression is not flattered.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

Documents = Mapping[str, Mapping[str, Any]]
"""Values by key, as docshelf stores them."""

# One document in this many is changed by the workload "changed".
CHANGED_ONE_IN: Final = 100
# Of documents with fields: how many there are, with how many characters of text, and how many have one author.
_WITH_FIELDS, _SHORT, OF_AN_AUTHOR = 200_000, 100, 20


@dataclass(frozen=True)
class Corpus:
    """Documents, the same with one in a hundred changed, and those with another one in a hundred gone.

    Attributes:
        text_bytes: the text of all documents, UTF-8.
    """

    documents: Documents
    changed: Documents
    pruned: Documents
    text_bytes: int

    def first(self, count: int | None) -> Corpus:
        """The same with at most so many documents."""
        if count is None or count >= len(self.documents):
            return self
        documents = dict(islice(self.documents.items(), count))
        text_bytes = sum(len(document["text"].encode()) for document in documents.values())
        changed, pruned = ({key: part[key] for key in documents if key in part} for part in (self.changed, self.pruned))
        return Corpus(documents, changed, pruned, text_bytes)


def build_corpus(count: int, size: int) -> Corpus:
    """As many as `count` documents with `size` characters of text each; fewer where there is no more text."""
    documents: dict[str, dict[str, Any]] = {}
    seen: set[bytes] = set()
    text_bytes = 0
    for name, text in _texts():
        for part, start in enumerate(range(0, len(text) - size + 1, size)):
            if len(documents) == count:
                break
            piece = text[start : start + size]
            data = piece.encode()
            digest = hashlib.sha256(data).digest()
            if digest not in seen:
                seen.add(digest)
                text_bytes += len(data)
                documents[f"{name}#{part}"] = {"text": piece, "metadata": {"source": name, "part": part}}
        if len(documents) == count:
            break
    changed = dict(documents)
    for key in list(documents)[::CHANGED_ONE_IN]:
        changed[key] = {**documents[key], "text": f"Changed. {documents[key]['text'][9:]}"}
    gone = set(list(documents)[CHANGED_ONE_IN // 2 :: CHANGED_ONE_IN])
    pruned = {key: document for key, document in changed.items() if key not in gone}
    return Corpus(documents, changed, pruned, text_bytes)


def build_fields(count: int | None) -> Corpus:
    """Short documents with an author, a year and tags: 200,000, or as many as `count`."""
    corpus = build_corpus(count or _WITH_FIELDS, _SHORT)
    authors = max(1, len(corpus.documents) // OF_AN_AUTHOR)
    fields = {
        key: {"author": f"author {number % authors}", "year": 1900 + number % 120, "tags": [f"tag {number % 50}"]}
        for number, key in enumerate(corpus.documents)
    }

    def with_fields(documents: Documents) -> Documents:
        return {key: {"text": document["text"], **fields[key]} for key, document in documents.items()}

    return Corpus(
        with_fields(corpus.documents), with_fields(corpus.changed), with_fields(corpus.pruned), corpus.text_bytes
    )


def _texts() -> Iterator[tuple[str, str]]:
    """Texts by name, the same on every run with one Python."""
    with suppress(ImportError):
        from pydoc_data.topics import topics

        yield from topics.items()
    library = Path(sysconfig.get_path("stdlib"))
    sources = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts]
    tests = {path for path in sources if {"test", "tests"} & set(path.parts)}
    yield from _read(library, [path for path in sources if path not in tests])
    yield from _read(library, [path for path in sources if path in tests])
    packages = Path(sysconfig.get_path("purelib"))
    yield from _read(packages, sorted(packages.rglob("*.py")))


def _read(folder: Path, paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        with suppress(OSError, UnicodeDecodeError):
            yield path.relative_to(folder).as_posix(), path.read_text("utf-8").replace("\0", "")
