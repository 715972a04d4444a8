"""What was measured, for readers (Markdown) and for programs (JSON)."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.measuring import Series

_EXPLANATION: Final = (
    "A rate is the median of the repetitions, with half the distance of their quartiles. A ratio is docshelf's rate by",
    "that of its neighbour, taken within each repetition: the median and the quartiles. Above 1, docshelf is faster.",
    "Client CPU is what this process spends on one document, key or call, in microseconds, peer by peer.",
)


@dataclass(frozen=True)
class Target:
    """A ratio that docshelf has to reach.

    Attributes:
        of: what it is a ratio of: another peer, or another workload.
    """

    group: str
    workload: str
    of: str
    wanted: float
    reached: float

    @property
    def met(self) -> bool:
        return self.reached >= self.wanted


@dataclass(frozen=True)
class Results:
    """One run.

    Attributes:
        setting: versions, machine, size of the data: names and values, for the reader.
        series: all measurements, a group's workload by workload, docshelf's first.
        remarks: what each peer does.
    """

    setting: Mapping[str, str]
    series: Sequence[Series]
    remarks: Mapping[str, str]

    def ratios(self, series: Series, other: Series) -> list[float]:
        """How many times as fast the first was, by repetition: what disturbs both falls out."""
        return [theirs / ours for ours, theirs in zip(series.seconds, other.seconds, strict=True)]

    def targets(self) -> list[Target]:
        """Bulk work on PostgreSQL beside the driver's, and unchanged beside cold, as far as they were measured."""
        targets = []
        cold = {first.group: first for first, _ in self._rows() if first.workload.name == "cold"}
        for first, others in self._rows():
            compared = [(other.peer, 0.7, other) for other in others] if first.workload.bulk else []
            if not first.group.startswith("PostgreSQL"):
                compared = []
            if first.workload.name == "unchanged" and first.group in cold:
                compared.append(("cold sync", 8.0, cold[first.group]))
            for of, wanted, other in compared:
                reached = statistics.median(self.ratios(first, other))
                targets.append(Target(first.group, first.workload.title, of, wanted, reached))
        return targets

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
            rows = [(first, others) for first, others in self._rows() if first.group == group]
            heads = [head for other in rows[0][1] for head in (other.peer, "ratio")]
            yield ""
            yield f"### {group}"
            yield ""
            yield f"| workload | {' | '.join([rows[0][0].peer, *heads])} | client CPU, µs |"
            yield f"| --- | {' | '.join(['---:'] * (2 + len(heads)))} |"
            for first, others in rows:
                cells = [first.workload.title, _rate(first)]
                for other in others:
                    cells += [_rate(other), _ratio(self.ratios(first, other))]
                cells.append(" / ".join(f"{series.cpu * 1e6:.1f}" for series in (first, *others)))
                yield f"| {' | '.join(cells)} |"
        targets = self.targets()
        if targets:
            yield ""
            yield "### Targets"
            yield ""
            yield "| group | workload | of | wanted | reached | |"
            yield "| --- | --- | --- | ---: | ---: | --- |"
            for target in targets:
                verdict = "met" if target.met else "**missed**"
                measured = f"{target.of} | {target.wanted:.1f} | {target.reached:.2f}"
                yield f"| {target.group} | {target.workload} | {measured} | {verdict} |"

    def _rows(self) -> Iterator[tuple[Series, list[Series]]]:
        """docshelf and the others, for each group and workload."""
        rows: dict[tuple[str, str], list[Series]] = {}
        for series in self.series:
            rows.setdefault((series.group, series.workload.name), []).append(series)
        for first, *others in rows.values():
            yield first, others

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
                }
                for series in self.series
            ],
            "targets": [asdict(target) | {"met": target.met} for target in self.targets()],
        }
        return json.dumps(document, indent=1) + "\n"

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write both forms into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {folder / f"{name}.json": self.as_json(), folder / f"{name}.md": self.markdown()}
        for path, text in files.items():
            path.write_text(text, "utf-8")
        return list(files)


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
        digits = f"{series.median * 1e6:,.0f} µs"
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
