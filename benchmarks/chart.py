"""How many times as fast docshelf was: lines for the terminal, and a picture for a light and for a dark page.

`python -m benchmarks.chart` draws docs/images/benchmark-light.svg and benchmark-dark.svg from docs/benchmark.md.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.measuring import Series
from benchmarks.results import Published, read
from benchmarks.targets import ratios

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
_WIDTH: Final = 40


class Bar(NamedTuple):
    """One workload beside one peer."""

    group: str
    title: str
    peer: str
    ratio: float


def bars(series: Sequence[Series]) -> Iterator[Bar]:
    """Every workload of docshelf beside every peer that has it."""
    first: dict[tuple[str, str], Series] = {}
    for one in series:
        ours = first.setdefault((one.group, one.workload.name), one)
        if ours is not one:
            yield Bar(one.group, one.workload.title, one.peer, statistics.median(ratios(ours, one)))


def in_terminal(series: Sequence[Series]) -> str:
    """Lines of text; the bars are logarithmic."""
    found = list(bars(series))
    most = max((bar.ratio for bar in found), default=1)
    lines: list[str] = []
    group = ""
    for bar in found:
        if bar.group != group:
            group = bar.group
            lines += ["", f"{group}: times as fast as"]
        length = round(_WIDTH * max(0.0, math.log(max(bar.ratio, 1)) / math.log(max(most, math.e))))
        lines.append(f"  {bar.title:<32} {bar.peer:<40} {'█' * length}{'▏' if not length else ''} {times(bar.ratio)}")
    return "\n".join(lines)


class Question(NamedTuple):
    """What a user wants to know, and the workloads that answer it; a peer has one of them."""

    title: str
    workloads: tuple[str, ...]


class Peer(NamedTuple):
    """What a user has today. The group and the name are those of the tables."""

    group: str
    name: str
    label: str


QUESTIONS: Final[Sequence[Question]] = (
    Question("First ingest", ("cold sync",)),
    Question("Ingest again:\nunchanged", ("unchanged sync",)),
    Question("Ingest again:\n1% changed", ("sync, 1% changed",)),
    Question("Read 100\ndocuments", ("mget of 100 keys",)),
    Question("Remove what\nis gone*", ("deleting 100 nodes of a document", "sync, 1% gone")),
)
# The raw drivers are a limit and no choice; their ratios are in the tables.
PEERS: Final[Mapping[str, Sequence[Peer]]] = {
    "LangChain": (
        Peer("LangChain documents, sync", "SQLStore", "SQLStore"),
        Peer("LangChain documents, async", "SQLStore", "SQLStore, async"),
        Peer("LangChain documents, sync", "LocalFileStore", "LocalFileStore"),
    ),
    "LlamaIndex": (
        Peer("LlamaIndex nodes", "PostgresDocumentStore, batches of 1", "PostgresDocumentStore"),
        Peer("LlamaIndex nodes", "PostgresDocumentStore, batches of 1,000", "the same, batches of 1,000"),
        Peer("LlamaIndex nodes", "SimpleDocumentStore", "SimpleDocumentStore (memory)"),
    ),
    "No framework": (
        Peer("dictionaries", "LangGraph PostgresStore", "LangGraph PostgresStore"),
        Peer("dictionaries", "py-key-value", "py-key-value (PostgreSQL)"),
    ),
}
_TITLE: Final = "How many times as fast docshelf is"
_EXPLANATION: Final = (
    "Logarithmic scale: each line is ten times the one before. Blue: docshelf is faster. Orange: it is slower. "
    "n/a: not measured.\n"
    "* LangChain: a sync finds that 1% of the documents are gone. LlamaIndex: a document of 100 nodes is deleted."
)


class Theme(NamedTuple):
    """Colours of a page. The two of the bars differ for the colour-blind as well."""

    text: str
    quiet: str
    grid: str
    faster: str
    slower: str


THEMES: Final[Mapping[str, Theme]] = {
    "light": Theme(text="#1f2328", quiet="#59636e", grid="#d1d9e0", faster="#0969da", slower="#bc4c00"),
    "dark": Theme(text="#f0f6fc", quiet="#9198a1", grid="#3d444d", faster="#4493f8", slower="#f0883e"),
}


class Panel(NamedTuple):
    """One question: a ratio for each peer, None where it was not measured."""

    title: str
    ratios: list[float | None]


def panels(published: Published, peers: Sequence[Peer]) -> list[Panel]:
    """The questions that were asked of at least one of the peers."""
    found = [
        Panel(
            question.title,
            [
                next(
                    (
                        published.ratios[peer.group, workload, peer.name]
                        for workload in question.workloads
                        if (peer.group, workload, peer.name) in published.ratios
                    ),
                    None,
                )
                for peer in peers
            ],
        )
        for question in QUESTIONS
    ]
    return [panel for panel in found if any(ratio is not None for ratio in panel.ratios)]


def save(markdown: str, folder: Path, name: str) -> list[Path]:
    """Draw what `Results.markdown` says, for a light and a dark page.

    Args:
        name: what the files' names begin with.

    Returns:
        The files; none where matplotlib is missing, or no peer of a framework was measured.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    published = read(markdown)
    measured = {(group, peer) for group, _, peer in published.ratios}
    frameworks = {
        framework: [peer for peer in peers if (peer.group, peer.name) in measured] for framework, peers in PEERS.items()
    }
    frameworks = {framework: peers for framework, peers in frameworks.items() if peers}
    if not frameworks or not panels(published, [peer for peers in frameworks.values() for peer in peers]):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    # Text stays text, and ids do not change from run to run, so that a picture's changes can be read.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "docshelf", "font.family": "DejaVu Sans"}):
        for theme, colours in THEMES.items():
            path = folder / f"{name}-{theme}.svg"
            figure = _draw(published, frameworks, colours)
            figure.savefig(path, transparent=True, metadata={"Date": None, "Title": "docshelf beside its peers"})
            # Verdana has the same widths where DejaVu is not installed.
            text = path.read_text("utf-8").replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
            path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")
            saved.append(path)
    return saved


def _draw(published: Published, frameworks: Mapping[str, Sequence[Peer]], theme: Theme) -> Figure:
    from matplotlib.figure import Figure

    peers = [peer for peers in frameworks.values() for peer in peers]
    asked = panels(published, peers)
    # A framework's name takes a row of its own above its peers.
    rows: list[float] = []
    headings: list[tuple[float, str]] = []
    place = 0.0
    for framework, of_it in frameworks.items():
        headings.append((place, framework))
        rows += [place + number for number in range(1, len(of_it) + 1)]
        place += len(of_it) + 1.3
    found = [ratio for panel in asked for ratio in panel.ratios if ratio is not None]
    limits = min(0.5, *found) * 0.8, max(2.0, *found) * 10

    width, height = 9.8, 2.1 + 0.27 * place
    figure = Figure(figsize=(width, height))
    axes: Any = figure.subplots(
        1,
        len(asked),
        sharex=True,
        sharey=True,
        squeeze=False,
        gridspec_kw={
            "left": 0.25,
            "right": 0.998,
            "top": 1 - 1.2 / height,
            "bottom": 0.9 / height,
            "wspace": 0.04,
        },
    )
    for number, (panel, one) in enumerate(zip(asked, axes[0], strict=True)):
        _panel(one, panel, rows, limits, theme, has_labels=number == 0)
    first = axes[0][0]
    first.set_ylim(place - 0.7, -0.7)
    first.set_yticks(rows, [peer.label for peer in peers], color=theme.text, fontsize=10)
    for y, framework in headings:
        first.annotate(
            framework,
            (0, y),
            xycoords=("figure fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            fontweight="bold",
            color=theme.text,
        )
    beside = 8 / 72 / width
    figure.text(beside, 1 - 0.28 / height, _TITLE, fontsize=14, fontweight="bold", color=theme.text)
    figure.text(beside, 1 - 0.52 / height, published.summary, fontsize=10, color=theme.quiet)
    figure.text(beside, 0.52 / height, _EXPLANATION, fontsize=9, color=theme.quiet, va="top", linespacing=1.4)
    return figure


def _panel(
    axes: Axes,
    panel: Panel,
    rows: Sequence[float],
    limits: tuple[float, float],
    theme: Theme,
    *,
    has_labels: bool,
) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.annotate(
        panel.title,
        (1, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=10,
        fontweight="bold",
        color=theme.text,
    )
    marks = [power for power in range(9) if 10**power < limits[1] / 4]
    axes.set_xticks(
        [10**power for power in marks],
        ["equal" if power == 0 else f"{10**power:,}x" for power in marks],
        fontsize=9,
        color=theme.quiet,
    )
    axes.set_xticks([], minor=True)
    axes.tick_params(length=0, labelleft=has_labels)
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.axvline(1, color=theme.quiet, linewidth=1.2)
    for row, ratio in zip(rows, panel.ratios, strict=True):
        if ratio is None:
            axes.annotate(
                "n/a", (1, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9, color=theme.quiet
            )
            continue
        colour = theme.faster if ratio >= 1 else theme.slower
        axes.barh(row, ratio - 1, left=1, height=0.66, color=colour)
        axes.annotate(
            times(ratio),
            (max(ratio, 1), row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=theme.text,
        )


def times(ratio: float) -> str:
    """A ratio as the pictures and the terminal show it: two or three digits, halves rounded up."""
    digits = "1" if ratio >= 10 else "0.1" if ratio >= 1 else "0.01"
    return f"{Decimal(str(ratio)).quantize(Decimal(digits), ROUND_HALF_UP):,}x"


def main() -> int:
    saved = save((DOCS / "benchmark.md").read_text("utf-8"), DOCS / "images", "benchmark")
    if not saved:
        print("chart: matplotlib is missing, or docs/benchmark.md has none of the peers", file=sys.stderr)
        return 1
    print(*saved, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
