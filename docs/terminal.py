"""Take the pictures of the README and of docs/command-line.md: what verbs print on a terminal, as SVG.

`make pictures` writes docs/images/terminal-*.svg. The commands are real: they run on a terminal of their own, against a
PostgreSQL server that holds the reference texts of Python, or a file in an empty folder. It needs a Unix.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docshelf import DocShelf, Document, SourceNote  # noqa: E402
from tests.support.command import Terminal  # noqa: E402
from tests.support.servers import wheel_server  # noqa: E402

IMAGES: Final = ROOT / "docs" / "images"
WIDTH: Final = 100
_STORY_WIDTH: Final = 78
PICTURES: Final[Mapping[str, str]] = {
    "stats": "docshelf stats",
    "ls": "docshelf ls --long --prefix with.txt#0",
    "find": "docshelf find kind=statement 'words>=700' --limit 8",
    "doctor": "docshelf doctor",
}


def fill(url: str) -> None:
    """The reference of Python, a paragraph an entry, in a source for each topic."""
    items, notes = [], {}
    for name, text in sorted(topics.items()):
        of = f"{name}.txt"
        words = len(text.split())
        metadata = {"kind": "statement" if "_stmt" in text else "topic", "words": words}
        notes[of] = SourceNote(sha256(text.encode()).hexdigest(), {"title": name})
        paragraphs = text.split("\n\n")
        items += [(f"{of}#{number:02}", Document(part, metadata), of) for number, part in enumerate(paragraphs)]
    with DocShelf(url) as shelf:
        shelf.setup(searchable=["kind", "words"])
        shelf.sync(items, scope="sources", notes=notes)


def folder_pictures(folder: Path, url: str) -> Iterator[tuple[str, str]]:
    """What `sync` and then, after an edit, `diff` print of a folder of texts."""
    texts = folder / "reference"
    texts.mkdir()
    for name in ("assert", "break", "pass", "while", "with"):
        (texts / f"{name}.txt").write_text(topics[name], encoding="utf-8")
    yield "sync", picture("docshelf sync reference/", url, folder, DOCSHELF_COLLECTION="reference")
    edited = topics["break"].replace("terminates", "ends")
    (texts / "break.txt").write_text(edited, encoding="utf-8")
    (texts / "new.txt").write_text("A new text.", encoding="utf-8")
    yield "diff", picture("docshelf diff reference/", url, folder, DOCSHELF_COLLECTION="reference")


def story_pictures(folder: Path) -> Iterator[tuple[str, str]]:
    """The README's: a folder that is synced, edited and synced again; on a light and a dark page."""
    texts = folder / "handbook"
    texts.mkdir()
    (texts / "billing.md").write_text("# Billing\n\nPay by card.\n", encoding="utf-8")
    (texts / "shipping.html").write_text("<title>Shipping</title><p>Parcels leave at noon.</p>", encoding="utf-8")
    (texts / "team.csv").write_text("name,role\nAnn,buyer\nBob,seller\n", encoding="utf-8")
    commands = (
        "docshelf sync handbook",
        "echo 'Or by invoice.' >>handbook/billing.md; rm handbook/team.csv",
        "docshelf diff handbook",
        "docshelf sync handbook",
        "docshelf find title=Shipping",
    )
    session = [(command, _output(command, folder, _STORY_WIDTH, DOCSHELF_URL="docshelf.db")) for command in commands]
    for name, theme in (("light", DEFAULT_TERMINAL_THEME), ("dark", SVG_EXPORT_THEME)):
        yield f"story-{name}", _drawn(session, "handbook", f"docshelf-story-{name}", _STORY_WIDTH, theme)


def picture(command: str, url: str, folder: Path, **environment: str) -> str:
    """What a command prints on a terminal, as SVG."""
    printed = _output(command, folder, WIDTH, DOCSHELF_URL=url, **environment)
    return _drawn([(command, printed)], command, f"docshelf-{command.split()[1]}", WIDTH, SVG_EXPORT_THEME)


def _output(command: str, folder: Path, columns: int, **environment: str) -> str:
    """What a command prints on a terminal of this width. Other programs than docshelf print nothing."""
    words = shlex.split(command)
    if words[0] != "docshelf":
        subprocess.run(command, shell=True, cwd=folder, check=True)  # noqa: S602 - our own
        return ""
    terminal = Terminal(words[1:], cwd=folder, columns=columns, **environment)
    terminal.end()
    return terminal.seen.rstrip("\n")


def _drawn(session: Sequence[tuple[str, str]], title: str, name: str, width: int, theme: TerminalTheme) -> str:
    """Commands and what they printed, as SVG."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    for number, (command, printed) in enumerate(session):
        if number:
            console.print()
        console.print(Text.assemble(("$ ", "bold green"), command))
        if printed:
            console.print(Text.from_ansi(printed))
    console.print()
    svg = console.export_svg(title=title, unique_id=name, theme=theme)
    if theme is DEFAULT_TERMINAL_THEME:  # the frame is drawn for a dark page
        svg = svg.replace('stroke="rgba(255,255,255,0.35)"', 'stroke="rgba(0,0,0,0.35)"')
    # Its fonts would come from a server of somebody else; the reader's own do as well.
    return re.sub(r"\s*@font-face \{.*?\n    \}", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")


def main() -> None:
    with wheel_server() as server, TemporaryDirectory() as folder:
        url = server.render_as_string(hide_password=False)
        fill(url)
        of_store = ((name, picture(command, url, Path(folder))) for name, command in PICTURES.items())
        for name, svg in (*story_pictures(Path(folder)), *of_store, *folder_pictures(Path(folder), url)):
            path = IMAGES / f"terminal-{name}.svg"
            path.write_text(svg, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
