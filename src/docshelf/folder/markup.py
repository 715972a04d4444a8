"""HTML to Markdown."""

from __future__ import annotations

from typing import Any, Final

from docshelf.errors import ConfigurationError
from docshelf.types import Document

# What a reader of a page does not see.
_UNSEEN: Final = ("script", "style", "template", "noscript")
_MISSING: Final = "HTML and DOCX need markdownify: pip install 'docshelf[folder]'"


def document_of_html(text: str) -> Document:
    """The text of a page as Markdown, and its title, if it has one, as metadata.

    Raises:
        ConfigurationError: markdownify is not installed.
    """
    try:
        from bs4 import BeautifulSoup
        from markdownify import MarkdownConverter
    except ModuleNotFoundError as exc:
        raise ConfigurationError(_MISSING) from exc
    soup = BeautifulSoup(text, "html.parser")
    title = " ".join(soup.title.get_text(" ").split()) if soup.title is not None else ""
    for unseen in soup(["title", *_UNSEEN]):
        unseen.decompose()
    converter = MarkdownConverter(
        heading_style="ATX", escape_asterisks=False, escape_underscores=False, escape_misc=False
    )
    lines = [line.rstrip() for line in converter.convert_soup(soup).strip().splitlines()]
    # One empty line between blocks.
    kept = [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
    metadata: dict[str, Any] = {"title": title} if title else {}
    return Document("\n".join(kept), metadata)


def declared_encoding(data: bytes) -> str | None:
    """The encoding that a page says of itself; None if it says none.

    Raises:
        ConfigurationError: markdownify is not installed.
    """
    try:
        from bs4.dammit import EncodingDetector
    except ModuleNotFoundError as exc:
        raise ConfigurationError(_MISSING) from exc
    return EncodingDetector.find_declared_encoding(data, is_html=True)
