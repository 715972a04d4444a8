"""Check the built site: every link, picture and anchor within it leads somewhere.

`python tools/check_site.py build/site` reads the HTML as a browser gets it. Sphinx checks the links that it makes.
This also sees those in HTML, in docstrings, and what the theme adds. Links to other sites are not followed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src", "srcset") and value:
                self.links.add(value)


def broken(site: Path) -> list[str]:
    """What leads nowhere, as `page: link`."""
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in sorted(pages.items()):
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            lost = not target.exists()
            if parts.fragment and target in pages:
                lost = lost or unquote(parts.fragment) not in pages[target].anchors
            if lost:
                found.append(f"{path.relative_to(site)}: {link}")
    return found


def main() -> int:
    """Print what is broken, and return 1 if anything is."""
    site = Path(sys.argv[1]).resolve()
    problems = broken(site)
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    count = len(list(site.rglob("*.html")))
    print(f"{count} pages, {len(problems)} broken links")
    return 1 if problems or not count else 0


if __name__ == "__main__":
    sys.exit(main())
