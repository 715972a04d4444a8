"""Take the pictures of the README: each HTML view on a light and a dark page, in a real browser.

`python docs/screenshots.py` writes docs/images/*.png. It needs docshelf and Chromium
(Debian: apt-get install chromium).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from docshelf import DocShelf, SourceNote
from docshelf.display import sample, summary

IMAGES = Path(__file__).parent / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 1500
# As Jupyter sets its outputs: both of its themes, its font and its size.
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; width: {width}px; display: flex; font: 13px/1.3 system-ui, sans-serif }}
main {{ box-sizing: border-box; width: 50%; padding: 14px 18px; overflow: hidden }}
</style><main style="background:#fff;color:rgba(0,0,0,.87)">{view}</main>
<main style="background:#111;color:rgba(255,255,255,.87)">{view}</main>
<script>document.title = document.documentElement.scrollHeight</script>"""


def views() -> dict[str, Any]:
    """The things to show, of a shelf that holds real text."""
    texts = {f"{name}.txt": text for name, text in sorted(topics.items())}
    with DocShelf(":memory:", "python-reference") as shelf:
        items = [
            (f"{name}#{n}", text, name) for name, whole in texts.items() for n, text in enumerate(whole.split("\n\n"))
        ]
        notes = {
            name: SourceNote(sha256(text.encode()).hexdigest(), {"title": name[:-4]}) for name, text in texts.items()
        }
        shelf.sync(items, scope="sources", notes=notes)
        lost = {key for key, _, _ in items[40:52]}
        edited = [(key, text.replace("name", "identifier"), of) for key, text, of in items if key not in lost]
        items = [*edited, ("new.txt#0", "A new paragraph.", "new.txt")]
        report = shelf.sync(items, scope="sources", notes=notes, diff=True)
        evil = "<script>alert(1)</script>\x1b[31m\u202e"
        hostile = DocShelf(":memory:", "hostile").conditional_mset({evil + "x" * n: n for n in range(40)}, source=evil)
        return {
            "store": shelf,
            "report": report,
            "diffs": type(report.diffs)(report.diffs[:2]),
            "sources": type(shelf.sources())(shelf.sources()[:5]),
            "stats": shelf.stats(),
            "entry": shelf.get_entry("assert.txt#1"),
            "summary": summary(shelf),
            "sample": sample(shelf, 3, seed=1),
            "hostile": hostile,
        }


def shoot(browser: str, page: Path, image: Path) -> None:
    """Take a picture of a whole page, as high as its content."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDTH},80"]
    dom = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True).stdout
    height = int(re.search(r"<title>(\d+)</title>", dom)[1])  # type: ignore[index]
    command[-1] = f"--window-size={WIDTH},{height}"
    subprocess.run([*command, f"--screenshot={image}", page.as_uri()], capture_output=True, check=True)


def main() -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is installed")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, value in views().items():
            page = Path(folder) / f"{name}.html"
            page.write_text(PAGE.format(width=WIDTH, view=value._repr_html_()), encoding="utf-8")
            shoot(browser, page, IMAGES / f"{name}.png")
            print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
