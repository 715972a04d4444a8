"""What `make dist DIST=--release` lets pass, and what it does not."""

from __future__ import annotations

import pytest

from docshelf import __version__
from tests.support.pages import ROOT
from tools.dist import obstacles

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-31\n"
PAGE = '[guide](https://docshelf.test/guide.md) and [below](#below)\n\n<img src="https://docshelf.test/a.svg">\n'


def metadata(page: str = PAGE, version: str = "1.2.0", repository: str = "Repository") -> str:
    urls = f"Project-URL: {repository}, https://docshelf.test\n"
    return f"Metadata-Version: 2.4\nName: docshelf\nVersion: {version}\n{urls}\n{page}"


def test_a_package_that_is_ready_meets_no_obstacle() -> None:
    assert obstacles(metadata(), CHANGELOG) == []


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("[guide](docs/guide.md)", "docs/guide.md"),
        ("![report](docs/report.png)", "docs/report.png"),
        ('<img src="docs/a.svg">', "docs/a.svg"),
        ('<source srcset="docs/b.svg">', "docs/b.svg"),
    ],
)
def test_a_relative_link_is_an_obstacle(page: str, link: str) -> None:
    assert obstacles(metadata(PAGE + page), CHANGELOG) == [f"README has relative links: {link}"]


def test_code_has_no_links() -> None:
    assert obstacles(metadata(PAGE + "```python\nfound = pages[0](docs)\n```\n"), CHANGELOG) == []


@pytest.mark.parametrize(
    ("version", "changelog"),
    [
        ("1.3.0", CHANGELOG),
        ("1.2.0", CHANGELOG.replace(" - 2026-01-31", "")),
        ("1.2.0", CHANGELOG.replace("1.2.0", "1x2.0")),
    ],
)
def test_a_version_without_a_dated_heading_is_an_obstacle(version: str, changelog: str) -> None:
    [obstacle] = obstacles(metadata(version=version), changelog)
    assert obstacle == f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'"


@pytest.mark.parametrize("address", ["https://forge.test/OWNER/docshelf", "https://example.org/docshelf"])
def test_an_address_that_nobody_filled_in_is_an_obstacle(address: str) -> None:
    in_page = obstacles(metadata(f"{PAGE}[more]({address})"), CHANGELOG)
    in_urls = obstacles(metadata().replace("https://docshelf.test\n", f"{address}\n"), CHANGELOG)
    assert in_page == [f"these addresses are placeholders: {address}"]
    assert in_urls == [f"these addresses are placeholders: Repository, {address}"]


def test_a_readme_that_knows_of_no_release_is_an_obstacle() -> None:
    [obstacle] = obstacles(metadata(f"{PAGE}From a checkout, until the first\nrelease is on PyPI:"), CHANGELOG)
    assert "pip install docshelf" in obstacle


def test_a_missing_repository_is_an_obstacle() -> None:
    assert obstacles(metadata(repository="Homepage"), CHANGELOG) == ["the metadata name no Repository"]


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
