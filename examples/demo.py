"""docshelf's main job on real text: keep a shelf in step with documents, and write only what changed.

    python examples/demo.py                                  # the texts that come with Python, into an SQLite file
    python examples/demo.py FOLDER --url postgresql://...    # any folder of text files, into PostgreSQL

`ingest` below is what an application runs after each crawl of its files; the rest of this file plays the changes that
files go through, shows what each costs, and checks the counts against a comparison in plain Python. It exits with 1
when one is not as it should be, and with 2 when it cannot begin.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from texts import Library, NoTextError, chunks, folder_of_texts, printable, python_reference

from docshelf import DocShelf, DocShelfError, Item, Report, SourceNote, __version__

T = TypeVar("T")

COLLECTION = "docshelf-demo"


def ingest(shelf: DocShelf, documents: Mapping[str, str], *, trust_fingerprints: bool = True) -> Report:
    """Make the shelf hold exactly these documents, each cut into chunks, and say what that took.

    Args:
        shelf: where to.
        documents: text by name; the name is the source of the document's chunks.
        trust_fingerprints: do not even cut a document whose fingerprint is that of its last sync.
    """
    # Of a file on disk, `docshelf.file_fingerprint(path)` is the fingerprint.
    fingerprints = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in documents.items()}
    changed = shelf.changed_sources(fingerprints) if trust_fingerprints else list(documents)

    # One call and one transaction for all documents: each of them, the note about it included, changes as a whole.
    items = [Item(key, {"text": text}, name) for name in changed for key, text in chunks(name, documents[name]).items()]
    notes = {name: SourceNote(fingerprints[name]) for name in changed}
    show_progress = bool(items) and sys.stderr.isatty()
    report = shelf.sync(items, scope="sources", notes=notes, show_progress=show_progress)

    gone = [known.source for known in shelf.sources() if known.source not in documents]
    deleted = [change for name in gone for change in shelf.delete_source(name)]
    return Report((*report, *deleted))


class WrongCountError(Exception):
    """The shelf did something else than it should have."""


class Demo:
    """The story. `documents` is what the files hold now, `standing` the chunks that the shelf should hold."""

    def __init__(self, shelf: DocShelf, library: Library) -> None:
        self.shelf = shelf
        self.documents = library.documents
        self.standing: dict[str, dict[str, str]] = {}
        self.steps = 0

    def tell(self) -> None:
        """From the first sync to the last check."""
        self.sync("First sync: everything is new")
        self.sync("The same again: every chunk is compared, none is written", trust_fingerprints=False)
        self.sync("The same with fingerprints: no document is even cut into chunks")
        with_text = [name for name in self.documents if self.standing[name]]
        name, *others = sorted(with_text, key=lambda name: -len(self.standing[name]))
        self.edit(name)
        if len(self.standing[name]) > 1:
            self.shorten(name)
        if others:
            del self.documents[others[-1]]
            self.sync(f"{printable(others[-1])} was removed")
        self.read()
        self.measure()

    def sync(self, title: str, *, trust_fingerprints: bool = True) -> None:
        """Ingest the documents as they are now, show what that did, and check it."""
        self.title(title)
        wanted = {name: chunks(name, text) for name, text in self.documents.items()}
        report, seconds = timed(lambda: ingest(self.shelf, self.documents, trust_fingerprints=trust_fingerprints))
        looked_at = {
            name
            for name in {*wanted, *self.standing}
            if not trust_fingerprints or wanted.get(name) != self.standing.get(name)
        }
        self.show(report, seconds, comparison(self.standing, wanted, looked_at))
        self.standing = wanted
        check("keys", list(self.shelf.yield_keys()), sorted(key for keys in wanted.values() for key in keys))

    def edit(self, name: str) -> None:
        """Add a sentence in the middle of a document: first as a dry run, then in earnest."""
        texts = list(self.standing[name].values())
        texts[len(texts) // 2] += " This sentence is new."  # its key stays, unless it had fewer words than a key
        self.documents[name] = "\n\n".join(texts)
        wanted = chunks(name, self.documents[name])
        self.title(f"Dry run: what does one more sentence in {printable(name)} change?")
        items = {key: {"text": text} for key, text in wanted.items()}
        report, seconds = timed(lambda: self.shelf.sync(items, source=name, dry_run=True))
        self.show(report, seconds, comparison(self.standing, {name: wanted}, {name}))
        if not report.changed:
            raise WrongCountError(f"an edited document without a change: {report!r}")
        self.sync("The same in earnest")

    def shorten(self, name: str) -> None:
        """Take away the last third of a document's chunks, at least one."""
        texts = list(self.standing[name].values())
        self.documents[name] = "\n\n".join(texts[: -max(1, len(texts) // 3)])
        self.sync(f"{printable(name)} lost a third of its paragraphs")

    def read(self) -> None:
        """The ways to read, sync and async."""
        self.title("Reading")
        name = max(self.standing, key=lambda name: len(self.standing[name]))
        text_of = {key: text for keys in self.standing.values() for key, text in keys.items()}
        some = list(text_of)[:100]

        key = list(self.standing[name])[-1]
        value, seconds = timed(lambda: self.shelf.get(key))
        check("the value of one key", value["text"], text_of[key])
        row("get(key)", printable(" ".join(value["text"].split())[:34]) + "...", seconds)

        values, seconds = timed(lambda: self.shelf.mget(some))
        check("the values of keys", [value["text"] for value in values], [text_of[key] for key in some])
        row("mget(keys)", f"{len(values):,} values", seconds)

        async def amget() -> list[dict[str, str]]:
            return await self.shelf.amget(some)

        avalues, seconds = timed(lambda: asyncio.run(amget()))
        check("the values of keys, async", avalues, values)
        row("await amget(keys)", f"{len(avalues):,} values, connecting included", seconds)

        keys, seconds = timed(lambda: list(self.shelf.yield_keys(prefix=f"{name}#")))
        check("keys by prefix", keys, sorted(self.standing[name]))
        row(f"yield_keys(prefix={shortened(name)!r})", f"{len(keys):,} keys", seconds)

        sources, seconds = timed(self.shelf.sources)
        check("sources", {s.source: s.entries for s in sources}, {s: len(keys) for s, keys in self.standing.items()})
        row("sources()", f"{len(sources):,} sources with {sum(s.entries for s in sources):,} entries", seconds)

        items, seconds = timed(lambda: {key: value["text"] for key, value in self.shelf.yield_items()})
        check("all that is stored", items, text_of)
        row("yield_items()", f"{len(items):,} entries, each as it was", seconds)

        problems, seconds = timed(self.shelf.verify)
        check("problems", problems, [])
        row("verify()", "every entry matches its hash", seconds)

    def measure(self) -> None:
        """The size on disk beside the size of the text."""
        self.title("Size")
        stats = self.shelf.stats()
        text = sum(len(text.encode()) for keys in self.standing.values() for text in keys.values())
        print(f"   text               {size(text):>9}")
        print(f"   stored values      {size(stats.stored_bytes):>9}   {stats.stored_bytes / text:.2f} of the text")
        print(f"   on disk            {size(stats.disk_bytes):>9}   the table with keys, hashes and indexes")

    def title(self, title: str) -> None:
        self.steps += 1
        print(f"\n{self.steps}. {title}")

    def show(self, report: Report, seconds: float, wanted: Mapping[str, int]) -> None:
        counts = "".join(f"{op} {count:<8,}" for op, count in report.counts.items())
        documents = len({change.source for change in report})
        print(f"   {counts} in {documents:>5,} documents {duration(seconds):>14}", flush=True)
        check("report", {op: count for op, count in report.counts.items() if count}, dict(wanted))


def comparison(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]], names: set[str]
) -> Mapping[str, int]:
    """How many chunks of some documents are new, other, the same and gone."""
    counts: Counter[str] = Counter()
    for name in names:
        old, new = before.get(name, {}), after.get(name, {})
        for key, text in new.items():
            counts["INS" if key not in old else "SKIP" if old[key] == text else "UPD"] += 1
        counts["DEL"] += len(old.keys() - new.keys())
    return +counts


def check(what: str, found: object, wanted: object) -> None:
    """Stop the demo when it does not show what it says."""
    if found != wanted:
        raise WrongCountError(f"{what}: found {str(found)[:300]} and not {str(wanted)[:300]}")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def row(call: str, result: str, seconds: float) -> None:
    print(f"   {call:<34} {result:<40} {duration(seconds):>8}")


def shortened(name: str) -> str:
    return printable(name if len(name) <= 12 else f"{name[:10]}..")


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} KB"


def run(library: Library, url: str | None) -> None:
    """The whole demo: on the database of a URL, or in an SQLite file in a folder of its own."""
    if url is None:
        url = str(Path(tempfile.mkdtemp(prefix=f"{COLLECTION}-")) / "shelf.db")
    with DocShelf(url, COLLECTION) as shelf:
        documents = library.documents
        text = sum(len(text.encode()) for text in documents.values())
        print(f"docshelf {__version__}, {len(documents):,} documents with {size(text)} of text")
        for name, reason in list(library.left_out.items())[:5]:
            print(f"   left out: {printable(name)} ({reason})")
        if len(library.left_out) > 5:
            print(f"   left out: {len(library.left_out) - 5:,} more files")
        print(f"into {shelf!r}", flush=True)
        if found := shelf.clear():
            print(f"   cleared of the {found:,} entries of an earlier run")
        try:
            Demo(shelf, library).tell()
        finally:
            if "postgres" in url.split("://")[0]:
                shelf.clear()
                print(f"\nThe collection {COLLECTION!r} is removed again; docshelf's empty tables stay.")
            else:
                print(f"\nThe shelf is in {printable(url)}.")


def main() -> int:
    parser = argparse.ArgumentParser(description="docshelf's main job on real text")
    parser.add_argument("folder", nargs="?", type=Path, help="of text files; by default Python's own reference")
    parser.add_argument(
        "--url",
        default=os.environ.get("DOCSHELF_URL") or None,
        help="postgresql://... or the path of an SQLite file; by default $DOCSHELF_URL, or a fresh SQLite file",
    )
    arguments = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files on a screen that lacks their letters
    try:
        run(folder_of_texts(arguments.folder) if arguments.folder else python_reference(), arguments.url)
    except (NoTextError, DocShelfError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 2
    except WrongCountError as exc:
        print(f"demo: this is not what should have come. {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python's own flush at exit is not to complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
