"""What was measured, for readers (Markdown) and for programs (JSON)."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.measuring import Series
from benchmarks.targets import Verdict, judge, ratios

_EXPLANATION: Final = (
    "A rate is the median of the repetitions, with half the distance between their quartiles. A ratio is docshelf's",
    "rate divided by the rate in the column before it, within each repetition: the median and the quartiles. Above 1,",
    "docshelf is faster. Client CPU is the CPU time of this process for one document, key or call, in the order of the",
    "columns.",
)


@dataclass(frozen=True)
class Results:
    """One run.

    Attributes:
        setting: versions, machine, size of the data: names and values, for the reader.
        series: all measurements, a group's workload by workload, docshelf's first.
        remarks: what each peer does.
        size: characters of a document.
    """

    setting: Mapping[str, str]
    series: Sequence[Series]
    remarks: Mapping[str, str]
    size: int

    def verdicts(self) -> list[Verdict]:
        """The targets for documents of this size, as far as they were measured."""
        return judge(self.series, self.size)

    def markdown(self) -> str:
        """Tables with settings, medians, spreads and ratios."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from (f"- {name}: {value}" for name, value in self.setting.items())
        yield ""
        yield from (f"- **{peer}**: {remark}." for peer, remark in self.remarks.items())
        yield ""
        yield from _EXPLANATION
        for group in dict.fromkeys(series.group for series in self.series):
            yield from self._table(group)
        verdicts = self.verdicts()
        if verdicts:
            yield ""
            yield "### Targets"
            yield ""
            yield "| group | workload | of | wanted | reached | |"
            yield "| --- | --- | --- | ---: | ---: | --- |"
            for one in verdicts:
                verdict = "met" if one.met else "**missed**"
                yield f"| {one.group} | {one.workload} | {one.of} | {one.wanted:.3g} | {one.reached:.2f} | {verdict} |"

    def _table(self, group: str) -> Iterator[str]:
        rows: dict[str, dict[str, Series]] = {}
        for series in self.series:
            if series.group == group:
                rows.setdefault(series.workload.name, {})[series.peer] = series
        peers = list(dict.fromkeys(peer for row in rows.values() for peer in row))
        heads = [head for other in peers[1:] for head in (other, "ratio")]
        yield ""
        yield f"### {group}"
        yield ""
        yield f"| workload | {' | '.join([peers[0], *heads])} | client CPU, µs |"
        yield f"| --- | {' | '.join(['---:'] * (2 + len(heads)))} |"
        for row in rows.values():
            first = row[peers[0]]
            cells = [first.workload.title, _rate(first)]
            for other in peers[1:]:
                cells += [_rate(row[other]), _ratio(ratios(first, row[other]))] if other in row else ["", ""]
            cells.append(" / ".join(f"{row[peer].cpu * 1e6:.1f}" if peer in row else "-" for peer in peers))
            yield f"| {' | '.join(cells)} |"

    def as_json(self) -> str:
        """All measurements, and what follows from them."""
        document = {
            "setting": dict(self.setting),
            "remarks": dict(self.remarks),
            "series": [
                {
                    "group": series.group,
                    "peer": series.peer,
                    "workload": series.workload.name,
                    "unit": series.workload.unit,
                    "rate": series.rate,
                    "seconds": series.seconds,
                    "cpu_seconds": [measurement.cpu for measurement in series.measurements],
                    "slowest_seconds": [measurement.slowest for measurement in series.measurements],
                }
                for series in self.series
            ],
            "targets": [asdict(verdict) | {"met": verdict.met} for verdict in self.verdicts()],
        }
        return json.dumps(document, indent=1) + "\n"

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write both forms into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {folder / f"{name}.json": self.as_json(), folder / f"{name}.md": self.markdown()}
        for path, text in files.items():
            path.write_text(text, "utf-8")
        return list(files)


@dataclass(frozen=True)
class Published:
    """What `Results.markdown` said, read back from a page.

    Attributes:
        summary: data, database and machine of the run, in one line.
        ratios: docshelf's rate by a peer's, by group, title of the workload and peer.
    """

    summary: str
    ratios: Mapping[tuple[str, str, str], float]


def read(markdown: str) -> Published:
    """Read the settings and the ratios of the first run on a page: further sizes have headings below theirs."""
    run, *_ = re.split(r"^## ", markdown, flags=re.MULTILINE)
    setting = dict(re.findall(r"^- ([\w ]+): (.*)$", run, re.MULTILINE))
    server = re.search(r"server_version=([\d.]+)", setting.get("PostgreSQL", ""))
    machine, _, _ = setting.get("machine", "").rpartition(", ")  # without its system
    parts = [setting.get("data", ""), f"PostgreSQL {server[1]}" if server else "", machine]
    found: dict[tuple[str, str, str], float] = {}
    for section in re.split(r"^### ", run, flags=re.MULTILINE)[1:]:
        group, *lines = section.splitlines()
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        if not table or table[0][0] != "workload":
            continue
        heads, _, *rows = table
        for row in rows:
            for column, (head, cell) in enumerate(zip(heads, row, strict=True)):
                if head == "ratio" and cell:
                    found[group, row[0], heads[column - 1]] = float(cell.split()[0])
    return Published("; ".join(part for part in parts if part), found)


def machine() -> str:
    """Processor, cores and system."""
    processor = platform.processor() or platform.machine()
    description = Path("/proc/cpuinfo")
    if description.is_file():
        names = [
            line.partition(":")[2].strip() for line in description.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    return f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def _rate(series: Series) -> str:
    low, high = _quartiles([1 / seconds for seconds in series.seconds])
    rate = series.rate
    digits = f"{rate:,.0f}" if rate < 10_000 else f"{rate / 1000:,.1f} k"
    if series.workload.unit == "calls/s":
        slowest = statistics.median(one.slowest for one in series.measurements)
        digits = f"{series.median * 1e6:,.0f} µs (p99 {slowest * 1e6:,.0f})"
    return f"{digits} ±{(high - low) / 2 / rate:.0%}" if len(series.seconds) > 1 else digits


def _ratio(ratios: Sequence[float]) -> str:
    low, high = _quartiles(ratios)
    median = f"{statistics.median(ratios):.2f}"
    return f"{median} ({low:.2f}-{high:.2f})" if len(ratios) > 1 else median


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
