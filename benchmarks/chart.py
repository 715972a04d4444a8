"""A picture of how many times as fast docshelf was, for the terminal and as a PNG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.measuring import Series
from benchmarks.targets import ratios

_WIDTH: Final = 40
# Lighter where the other was faster.
_FASTER, _SLOWER = "#2a9d6f", "#b8c4bf"


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
        lines.append(f"  {bar.title:<32} {bar.peer:<40} {'█' * length}{'▏' if not length else ''} {_times(bar.ratio)}")
    return "\n".join(lines)


def save_png(series: Sequence[Series], path: Path) -> bool:
    """Write the picture; False where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    # The raw drivers are a limit and no choice; their ratios are in the tables.
    found = [bar for bar in bars(series) if bar.peer not in ("raw", "by hand", "COPY")]
    if not found:
        return False
    figure = Figure(figsize=(9, 0.6 + 0.24 * len(found)), layout="constrained")
    axes = figure.subplots()
    places = range(len(found))
    colours = [_FASTER if bar.ratio >= 1 else _SLOWER for bar in found]
    drawn = axes.barh(places, [bar.ratio - 1 for bar in found], left=1, color=colours)
    axes.bar_label(drawn, [_times(bar.ratio) for bar in found], padding=3, fontsize=7)
    axes.set_yticks(places, [f"{bar.group}: {bar.title} | {bar.peer}" for bar in found], fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1, color="#888", linewidth=0.8)
    axes.margins(x=0.1, y=0.01)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("docshelf, times as fast as its peers (logarithmic)", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    return True


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x" if ratio >= 1 else f"{ratio:.2f}x"
