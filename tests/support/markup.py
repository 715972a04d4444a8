"""What a reader sees of HTML, and what tags it is made of."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

_ALLOWED = frozenset(("div", "span", "b", "table", "tbody", "tr", "th", "td", "del", "ins", "details", "summary"))


class Seen(HTMLParser):
    """HTML that is well-formed, of harmless tags, with styles as their only attributes; anything else fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.marked: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        assert tag in _ALLOWED
        assert {name for name, _ in attrs} <= {"style"}
        assert not any(word in str(value) for _, value in attrs for word in ("url(", "expression", "@import"))
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag in ("del", "ins"):
            self.marked.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data
        if self._open[-1] in ("del", "ins"):
            tag, text = self.marked[-1]
            self.marked[-1] = (tag, text + data)
