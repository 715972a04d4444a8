"""The pages for readers: their code runs, their links lead somewhere, they name all that is public."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import docshelf
from docshelf import DocShelf
from docshelf.schema import define_tables, grants
from tests.conftest import Location
from tests.support.pages import ROOT, blocks, check_blocks, needs_server, script

DOCS = ROOT / "docs"
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
NESTED = [page for page in PAGES if DOCS in page.parents and page.parent != DOCS]
# The tests of the adapters run the first two. The others need packages that only the tests of stacks have.
ELSEWHERE = {
    DOCS / "langchain.md",
    DOCS / "llama-index.md",
    DOCS / "moving" / "databases.md",
    *(DOCS / "how-to" / f"{name}.md" for name in ("celery", "fastapi", "pgvector")),
}
EXTRAS = set(
    re.findall(
        r"^([a-z-]+) = \[", PROJECT.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0], re.MULTILINE
    )
)
# What is no code, and what installs or builds.
PROSE = ("ini", "text", "{toctree}")
SETTING_UP = re.compile(r"(?:mkdir|make|pip|python) .*|")
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
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, new_location: Callable[[str], Location]
) -> None:
    check_blocks(page, tmp_path, url=new_location("pg18").url if needs_server(page) else None)


def test_the_pages_with_code_are_found() -> None:
    assert set(WITH_BLOCKS) >= {DOCS / "configuration.md", DOCS / "guide.md", DOCS / "moving" / "leaving.md"}
    assert all(map(script, ELSEWHERE))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if DOCS in page.parents or page.name == "README.md"], ids=name_of
)
def test_a_block_runs_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh":  # installs
            assert all(map(SETTING_UP.fullmatch, block.body.splitlines())), block.body
        else:
            assert block.reason or block.language in ("console", "python", "sql", *PROSE), f"says no language: {block}"
        assert "```" not in block.body


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_extras_that_a_page_installs_exist(page: Path) -> None:
    for names in re.findall(r"(?:\bdocshelf|'\.)\[([a-z,-]+)\]", page.read_text("utf-8")):
        assert set(names.split(",")) <= EXTRAS


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.language == "sql" for block in blocks(page))], ids=name_of
)
def test_the_sql_of_a_page_runs(page: Path, new_empty_location: Callable[[str], Location]) -> None:
    engine = create_engine(new_empty_location("pg18").sync_url)
    with engine.connect() as connection:  # rolled back
        connection.execute(text("CREATE ROLE app"))
        for block in blocks(page):
            if block.language == "sql":
                connection.exec_driver_sql(block.body.replace("%", "%%"))
    engine.dispose()


def test_the_rights_on_the_page_are_those_that_docshelf_grants() -> None:
    [block] = [block for block in blocks(DOCS / "configuration.md") if block.language == "sql"]
    assert block.body.splitlines() == [f"{one};" for one in grants(define_tables(), "writer", "app")]


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
