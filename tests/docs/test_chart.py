"""The benchmark's picture shows the figures of the benchmark's page."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import chart
from benchmarks.measuring import Series
from benchmarks.results import Results, read
from benchmarks.workloads import WORKLOADS, Measurement

PAGE = (chart.DOCS / "benchmark.md").read_text("utf-8")
IMAGES = chart.DOCS / "images"


def texts(picture: Path) -> list[str]:
    found = ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(element.itertext()) for element in found]


def shown(picture: Path) -> list[str]:
    """The ratios beside the bars, in the order in which they are drawn."""
    marks = {"10x", "100x", "1,000x"}
    return [text for text in texts(picture) if re.fullmatch(r"[\d.,]+x", text) and text not in marks]


def run(**seconds: tuple[float, ...]) -> Results:
    """One workload of DocShelfStore and of its peers, with these times."""
    [cold] = [workload for workload in WORKLOADS if workload.name == "cold"]
    series = [
        Series("LangChain documents, sync", peer, cold, tuple(Measurement(wall, wall, wall) for wall in walls))
        for peer, walls in seconds.items()
    ]
    setting = {
        "data": "3 documents",
        "machine": "a processor, 2 cores, an OS",
        "PostgreSQL": "server_version=18.4, fsync=on",
    }
    return Results(setting, series, dict.fromkeys(seconds, "a remark"), 2_000)


@pytest.mark.parametrize("theme", chart.THEMES)
def test_the_picture_shows_the_figures_of_the_page(theme: str) -> None:
    published = read(PAGE)
    peers = [peer for peers in chart.PEERS.values() for peer in peers]
    panels = chart.panels(published, peers)
    picture = IMAGES / f"benchmark-{theme}.svg"
    expected = [chart.times(ratio) for panel in panels for ratio in panel.ratios if ratio is not None]
    assert len(panels) == len(chart.QUESTIONS) == 5
    assert len(expected) == 38
    assert shown(picture) == expected, "make chart draws the picture anew"
    assert {peer.label for peer in peers} <= set(texts(picture))
    assert published.summary in texts(picture)


def test_what_the_page_says_is_read() -> None:
    published = read(PAGE)
    assert re.fullmatch(r"[\d,]+ documents, 2,000 bytes .*; PostgreSQL 18\.\d+; .*", published.summary)
    # Further sizes have tables of the same names.
    first = PAGE.partition("\n## ")[0]
    assert read(first) == published


def test_the_ratios_of_a_run_are_read_back() -> None:
    results = run(DocShelfStore=(0.01, 0.02, 0.01), SQLStore=(0.04, 0.06, 0.05), LocalFileStore=(0.005, 0.01, 0.005))
    published = read(results.markdown())
    group = "LangChain documents, sync"
    assert published.ratios == {
        (group, "cold sync", "SQLStore"): 4.0,
        (group, "cold sync", "LocalFileStore"): 0.5,
    }
    assert published.summary == "3 documents; PostgreSQL 18.4; a processor, 2 cores"


def test_a_part_of_the_benchmark_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    results = run(DocShelfStore=(0.01,), SQLStore=(0.04,), LocalFileStore=(0.005,))
    light, dark = chart.save(results.markdown(), tmp_path / "new", "some")
    assert (light.name, dark.name) == ("some-light.svg", "some-dark.svg")
    assert texts(light) == texts(dark)
    assert light.read_bytes() != dark.read_bytes()
    assert shown(light) == ["4.0x", "0.50x"]
    assert "LlamaIndex" not in texts(light)


def test_without_a_peer_there_is_no_picture(tmp_path: Path) -> None:
    assert chart.save(run(DocShelfStore=(0.01,)).markdown(), tmp_path, "some") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(0.234, "0.23x"), (0.05, "0.05x"), (1, "1.0x"), (3.05, "3.1x"), (9.94, "9.9x"), (10, "10x"), (1234.5, "1,235x")],
)
def test_a_ratio_has_two_or_three_digits(ratio: float, said: str) -> None:
    assert chart.times(ratio) == said
