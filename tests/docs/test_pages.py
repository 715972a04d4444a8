"""The pages for readers: their Python blocks run, their links lead somewhere, they name all that is public."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import docshelf
from docshelf import DocShelf
from tests.support.pages import ROOT, check_blocks, script

DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
NESTED = [page for page in PAGES if DOCS in page.parents and page.parent != DOCS]
# The tests of the adapters, and of the stacks, run these.
ELSEWHERE = {DOCS / "langchain.md", DOCS / "llama-index.md", DOCS / "moving" / "databases.md"}
WITH_BLOCKS = [page for page in PAGES if DOCS in page.parents and script(page) and page not in ELSEWHERE]
REFERENCE = (DOCS / "guide.md").read_text("utf-8") + (DOCS / "configuration.md").read_text("utf-8")
METHODS = [
    name
    for name in vars(DocShelf)
    if not name.startswith("_") and name != "async_" and not (name[0] == "a" and name[1:] in vars(DocShelf))
]


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def links(page: Path) -> Iterator[str]:
    """Where a page leads to, pictures too; not what stands in blocks of code."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)
    yield from re.findall(r'(?:href|src|srcset)="([^"]+)"', text)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_blocks_of_a_page_run_and_print_what_they_say(page: Path, tmp_path: Path) -> None:
    check_blocks(page, tmp_path)


def test_the_pages_with_blocks_are_found() -> None:
    assert set(WITH_BLOCKS) >= {DOCS / "configuration.md", DOCS / "guide.md", DOCS / "moving" / "leaving.md"}
    assert all(map(script, ELSEWHERE))


@pytest.mark.parametrize("page", NESTED, ids=name_of)
def test_the_page_named_as_its_folder_leads_to_a_nested_page(page: Path) -> None:
    index = page.parent.with_suffix(".md")
    assert f"]({page.parent.name}/{page.name}" in index.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in headings(target), f"{link} names no heading"


@pytest.mark.parametrize("name", [name for name in docshelf.__all__ if name != "__version__"])
def test_the_guide_or_the_configuration_names_what_the_package_offers(name: str) -> None:
    assert re.search(rf"\b{name}\b", REFERENCE)


@pytest.mark.parametrize("method", METHODS)
def test_the_guide_lists_every_method(method: str) -> None:
    table = REFERENCE.partition("## All methods")[2].partition("## ")[0].partition("```")[0]
    assert f"`{method}`" in table
