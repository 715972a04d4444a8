"""Views: the HTML that a notebook shows for values of a store.

Everything from a row is cut, escaped, and cleared of control characters. Text keeps the page's colours, and tints are
transparent, so that light and dark themes both work. Where styles are removed, plain tables remain.
"""

from __future__ import annotations

import html
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, Final

from docshelf.display.readable import readable
from docshelf.display.shapes import (
    ChangeShape,
    CollectionShape,
    DiffShape,
    DocumentShape,
    EntryShape,
    EstimatedStatsShape,
    FolderShape,
    MoveShape,
    ReportShape,
    SourceShape,
    StatsShape,
)

# The colours of the ops of a report. They differ in lightness as well as in hue.
TINTS: Final = {"INS": "#2a9d6f", "UPD": "#4a86e8", "SKIP": "rgba(128,128,128,.35)", "DEL": "#d9603b"}
_MOVE_TINT: Final = "#8e6bbf"
_FAIL_TINT: Final = "#c9a227"
_MAX_TEXT: Final = 48
_MAX_VALUE: Final = 400
_MAX_LINE: Final = 200
_MAX_KEYS: Final = 3
_MAX_ROWS: Final = 20
# Rows of a second page, which opens on a click.
_MORE_ROWS: Final = 100
# Of a diff: how many words are compared, which takes quadratic time, and how many characters around a change are shown.
_MAX_WORDS: Final = 4_000
_CONTEXT: Final = 80
_DELETED: Final = "background:rgba(217,96,59,.28)"
_INSERTED: Final = "background:rgba(42,157,111,.28);text-decoration:none"
_LINE: Final = "rgba(128,128,128,.4)"
# A page without a doctype gives tables the colour and size of a page without styles: black text on a dark page.
_TABLE: Final = "border-collapse:collapse;border:0;margin:.3em 0;color:inherit;font-size:inherit"
_CELL: Final = "border:0;padding:.15em 1.2em .15em 0;vertical-align:top"
_HEAD: Final = f"{_CELL};border-bottom:1px solid {_LINE};font-weight:600"
_TEXT: Final = "text-align:left;overflow-wrap:anywhere"
_ONE_LINE: Final = "text-align:left;white-space:nowrap"
_NUMBER: Final = "text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
_FAINT: Final = "opacity:.6"
# UUIDs, with and without dashes, and digests; alone or before a number.
_MADE_UP: Final = re.compile(
    r"(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32,})(?:[-_:#.]\d+)?", re.IGNORECASE
)


def report(shown: ReportShape, extra_counts: Mapping[str, int]) -> str:
    """A report: a bar of its four counts, and a table of them with the first keys of each.

    Args:
        extra_counts: further counts, by name.
    """
    counts = shown.counts
    sources = {change.source for change in shown}
    where = f" in {len(sources):,} sources" if len(sources) > 1 else ""
    if len(sources) == 1 and (source := next(iter(sources))):
        where = f" in {_code(source)}"
    total = f"{len(shown):,} {'entry' if len(shown) == 1 else 'entries'}{where}"
    # Keys that a machine made tell a reader nothing; the files that they came from do.
    by_source = len(shown) > 0 and all(map(_is_made_up, islice(shown, _MAX_ROWS)))
    named = "sources" if by_source else "keys"
    rows = [_row([("op", _TEXT), ("would be" if shown.dry_run else "done", _NUMBER), (named, _TEXT)], _HEAD)]
    for op, count in counts.items():
        changes = (change for change in shown if change.op == op)
        if by_source:
            names = list(dict.fromkeys(change.source for change in changes))
            first = _first_names(names, len(names))
        else:
            first = _first_names((change.key for change in changes), count)
        cells = [(f"{_swatch(TINTS[op])}{op}", _ONE_LINE), (f"{count:,}", _NUMBER), (first, _TEXT)]
        rows.append(_row(cells, _CELL if count else f"{_CELL};{_FAINT}"))
    rows += [
        _row([(_escaped(name), _TEXT), (f"{count:,}", _NUMBER), ("", _TEXT)]) for name, count in extra_counts.items()
    ]
    refused = "" if shown.refused is None else f"<div>refused: {_escaped(shown.refused, 400)}</div>"
    return _titled(
        f"{type(shown).__name__}{' of a dry run' if shown.dry_run else ''}",
        total,
        bar({TINTS[op]: count for op, count in counts.items()}) + _table(rows) + refused,
    )


def _is_made_up(change: ChangeShape) -> bool:
    """True for a key that is a UUID or a digest, of an entry with a source."""
    return bool(change.source and _MADE_UP.fullmatch(change.key))


def move(shown: MoveShape, extra_counts: Mapping[str, int]) -> str:
    """What a move did: a bar of its counts, a table of them, and the first entries that were refused."""
    rows = [_row([("op", _TEXT), ("would be" if shown.dry_run else "done", _NUMBER)], _HEAD)]
    for op, count in shown.counts.items():
        rows.append(_row([(f"{_swatch(TINTS[op])}{op}", _ONE_LINE), (f"{count:,}", _NUMBER)]))
    rows += [_row([(_escaped(name), _TEXT), (f"{count:,}", _NUMBER)]) for name, count in extra_counts.items()]
    refused = "".join(
        f"<div>refused {_code(problem.key)}: {_escaped(problem.reason, 4 * _MAX_TEXT)}</div>"
        for problem in shown.problems[:_MAX_ROWS]
    )
    title = f"MoveReport{' of a dry run' if shown.dry_run else ''}"
    bars = bar({TINTS[op]: count for op, count in shown.counts.items()})
    return _titled(title, f"{shown.entries:,} entries", bars + _table(rows) + refused)


def folder(shown: FolderShape, extra_counts: Mapping[str, int]) -> str:
    """What a sync of a folder did: a bar of its files, a table of files and entries, and the files that failed."""
    tints = {**TINTS, "MOVE": _MOVE_TINT, "FAIL": _FAIL_TINT}
    entries: Mapping[str, int] = shown.changes.counts
    head = ("op", _TEXT), ("files", _NUMBER), ("entries", _NUMBER)
    rows = [_row(head, _HEAD)]
    for op, count in shown.counts.items():
        of_entries = f"{entries[op]:,}" if op in ("INS", "UPD", "DEL") else ""
        cells = [(f"{_swatch(tints[op])}{op}", _ONE_LINE), (f"{count:,}", _NUMBER), (of_entries, _NUMBER)]
        rows.append(_row(cells, _CELL if count else f"{_CELL};{_FAINT}"))
    rows += [
        _row([(_escaped(name), _TEXT), (f"{count:,}", _NUMBER), ("", _TEXT)]) for name, count in extra_counts.items()
    ]
    failed = [one for one in shown.files if one.op == "FAIL"]
    below = "".join(
        f"<div>failed {_code(one.name)}: {_escaped(one.reason, 4 * _MAX_TEXT)}</div>" for one in failed[:_MAX_ROWS]
    )
    below += _more(len(failed) - _MAX_ROWS)
    below += "" if shown.refused is None else f"<div>refused: {_escaped(shown.refused, 400)}</div>"
    return _titled(
        f"FolderReport{' of a dry run' if shown.dry_run else ''}",
        f"{len(shown.files):,} files",
        bar({tints[op]: count for op, count in shown.counts.items()}) + _table(rows) + below,
    )


def shelf(name: str, facts: Mapping[str, str]) -> str:
    """A store, with some facts about it."""
    rows = [
        _row([(_escaped(fact), f"{_ONE_LINE};{_FAINT}"), (_escaped(text, 200), _TEXT)]) for fact, text in facts.items()
    ]
    return _titled(_escaped(name), "", _table(rows))


def sources(values: Sequence[SourceShape]) -> str:
    """Sources, each with its number of entries and what is stored about its file."""
    widest = max((source.entries for source in values), default=0)
    columns: dict[str, tuple[str, Callable[[SourceShape], str]]] = {
        "source": (_ONE_LINE, _source_name),
        "entries": (_NUMBER, lambda shown: f"{shown.entries:,}"),
        "": (f"{_TEXT};padding-top:.5em", lambda shown: bar({TINTS["UPD"]: shown.entries}, of=widest, width="4em")),
    }
    # Columns that are empty for every source are left out.
    if any(source.synced_at is not None for source in values):
        columns["synced"] = (_ONE_LINE, lambda shown: _time(shown.synced_at))
    if any(source.fingerprint is not None for source in values):
        columns["fingerprint"] = (
            _ONE_LINE,
            lambda shown: _code(shown.fingerprint, 8) if shown.fingerprint is not None else "",
        )
    if any(source.metadata for source in values):
        columns["metadata"] = (f"{_TEXT};min-width:10em", _source_metadata)
    head = _row([(name, _NUMBER if name == "entries" else _ONE_LINE) for name in columns], _HEAD)

    def page(start: int, end: int) -> str:
        rows = [_row([(cell(one), style) for style, cell in columns.values()]) for one in values[start:end]]
        return _table([head, *rows])

    total = f"{len(values):,}, with {sum(source.entries for source in values):,} entries"
    further = ""
    if len(values) > _MAX_ROWS:
        end = min(len(values), _MAX_ROWS + _MORE_ROWS)
        further = f"<details><summary>{_MAX_ROWS + 1:,} to {end:,}</summary>{page(_MAX_ROWS, end)}</details>"
        further += _more(len(values) - end)
    return _titled("Sources", total, page(0, _MAX_ROWS) + further)


def _source_name(shown: SourceShape) -> str:
    return _code(shown.source) if shown.source else f'<span style="{_FAINT}">no source</span>'


def _source_metadata(shown: SourceShape) -> str:
    return _escaped(preview(dict(shown.metadata)), 2 * _MAX_TEXT) if shown.metadata else ""


def collections(found: Sequence[CollectionShape]) -> str:
    """Collections: each with its number of entries and what they take."""
    widest = max((one.entries for one in found), default=0)
    heads = ("collection", "entries", "", "sources", "values, as packed")
    rows = [_row([(head, _ONE_LINE if head in ("collection", "") else _NUMBER) for head in heads], _HEAD)]
    for one in islice(found, _MAX_ROWS):
        filled = (bar({TINTS["UPD"]: one.entries}, of=widest, width="4em"), f"{_TEXT};padding-top:.5em")
        sources = "" if one.sources is None else f"{one.sources:,}"
        stored = "" if one.stored_bytes is None else size(one.stored_bytes)
        cells = [(_code(one.name), _ONE_LINE), (f"{one.entries:,}", _NUMBER), filled]
        rows.append(_row([*cells, (sources, _NUMBER), (stored, _NUMBER)]))
    total = f"{len(found):,}, with {sum(one.entries for one in found):,} entries"
    return _titled("Collections", total, _table(rows) + _more(len(found) - _MAX_ROWS))


def stats(numbers: StatsShape) -> str:
    """Numbers and sizes of a collection."""
    mean = size(numbers.stored_bytes // numbers.entries) if numbers.entries else ""
    rows = [
        _row([("entries", _TEXT), (f"{numbers.entries:,}", _NUMBER), ("", _TEXT)]),
        _row([("sources", _TEXT), (f"{numbers.sources:,}", _NUMBER), ("", _TEXT)]),
        _row([("values, as packed", _TEXT), (size(numbers.stored_bytes), _NUMBER), (mean and f"{mean} each", _TEXT)]),
        _on_disk(numbers.disk_bytes),
    ]
    return _titled("Stats", "", _table(rows))


def estimated_stats(numbers: EstimatedStatsShape) -> str:
    """About how large a collection is."""
    entries = _row([("entries", _TEXT), (f"{numbers.entries:,}", _NUMBER), ("estimated", _TEXT)])
    return _titled("EstimatedStats", "", _table([entries, _on_disk(numbers.disk_bytes)]))


def _on_disk(disk_bytes: int) -> str:
    return _row([("on disk", _TEXT), (size(disk_bytes), _NUMBER), ("the whole table, with indexes", _TEXT)])


def entry(shown: EntryShape) -> str:
    """An entry with the beginning of its value; of a document the text, and the metadata as a table."""
    text, metadata, is_document = readable(shown.value)
    value = _lines(preview(shown.value)) if shown.value_hash is not None else "none, only a version"
    facts = {
        "key": _code(shown.key, 2 * _MAX_TEXT),
        "source": _code(shown.source, 2 * _MAX_TEXT) if shown.source else "",
        "value": "" if is_document else value,
        "content type": _escaped(shown.content_type or ""),
        "version": _code(shown.version) if shown.version is not None else "",
        "hash": _code(shown.value_hash.hex(), 12) if shown.value_hash is not None else "",
        "created": _time(shown.created_at),
        "updated": _time(shown.updated_at) if shown.updated_at != shown.created_at else "",
    }
    style = f"{_TEXT};white-space:pre-wrap"
    rows = [_row([(name, f"{_ONE_LINE};{_FAINT}"), (fact, style)]) for name, fact in facts.items() if fact]
    read = _text_block(text) + _named(metadata) if is_document and text is not None else ""
    return _titled("Entry", "", read + _table(rows))


def entries(values: Sequence[EntryShape]) -> str:
    """Entries, each with the beginning of its text and of its metadata."""
    first = list(islice(values, _MAX_ROWS))
    parts = [readable(one.value) for one in first]
    has_metadata = any(fields for _, fields, is_document in parts if is_document)
    rows = [_row([(name, _ONE_LINE) for name in ("key", "text", *(["metadata"] * has_metadata))], _HEAD)]
    for one, (text, fields, is_document) in zip(first, parts, strict=True):
        where = f'<div style="{_FAINT}">{_code(one.source)}</div>' if one.source else ""
        line = " ".join((preview(one.value) if text is None else text)[:_MAX_VALUE].split())
        shown = _escaped(_shortened(line, _MAX_LINE), _MAX_LINE) + ("…" if len(line) > _MAX_LINE else "")
        cells = [(f"{_code(one.key)}{where}", f"{_TEXT};min-width:9em"), (shown, f"{_TEXT};min-width:16em")]
        if has_metadata:
            beside = _escaped(preview(dict(fields)), 3 * _MAX_TEXT) if is_document and fields else ""
            cells.append((beside, _TEXT))
        rows.append(_row(cells))
    return _titled("Entries", f"{len(values):,}", _table(rows) + _more(len(values) - _MAX_ROWS))


def summary(collection: str, facts: Mapping[str, str]) -> str:
    """What is in a collection, by name."""
    rows = [
        _row([(_escaped(fact), f"{_ONE_LINE};{_FAINT}"), (_escaped(text, 200), _TEXT)]) for fact, text in facts.items()
    ]
    return _titled("Collection", _code(collection), _table(rows))


def document(shown: DocumentShape) -> str:
    """A document: the beginning of its text, and its metadata."""
    beside = "" if shown.id is None else _code(shown.id)
    return _titled("Document", beside, _text_block(shown.text) + _named(shown.metadata))


def _text_block(text: str) -> str:
    return f'<div style="{_TEXT};white-space:pre-wrap">{_lines(preview(text))}</div>'


def unknown_document(content_type: str, fields: Mapping[str, Any]) -> str:
    """The fields of a document of a content type that its reader does not know."""
    return _titled("UnknownDocument", f"of content type {_code(content_type)}", _named(fields))


def _named(values: Mapping[str, Any]) -> str:
    """Values beside their names."""
    style = f"{_TEXT};white-space:pre-wrap"
    rows = [
        _row([(_escaped(str(name)), f"{_ONE_LINE};{_FAINT}"), (_lines(preview(value)), style)])
        for name, value in islice(values.items(), _MAX_ROWS)
    ]
    return (_table(rows) if rows else "") + _more(len(values) - _MAX_ROWS)


def diffs(values: Sequence[DiffShape]) -> str:
    """Updated entries, each with the words that were deleted and inserted."""
    shown = "".join(_diff(one) for one in islice(values, _MAX_ROWS))
    return _titled("Updated", f"{len(values):,}", shown + _more(len(values) - _MAX_ROWS))


def _diff(one: DiffShape) -> str:
    where = f' <span style="{_FAINT}">in {_code(one.source)}</span>' if one.source else ""
    style = f"border-left:3px solid {_LINE};padding-left:.8em;white-space:pre-wrap;overflow-wrap:anywhere"
    words = "".join(_part(op, old, new) for op, old, new in compare(one.old, one.new))
    return f'<div style="margin:.5em 0"><div>{_code(one.key)}{where}</div><div style="{style}">{words}</div></div>'


def _part(op: str, old: str, new: str) -> str:
    if op == "equal":
        if len(old) > 2 * _CONTEXT:
            # What ends the text is the beginning of the reversed one.
            return f"{_lines(_shortened(old, _CONTEXT))} … {_lines(_shortened(old[::-1], _CONTEXT)[::-1])}"
        return _lines(old)
    deleted = f'<del style="{_DELETED}">{_lines(old)}</del>' if old else ""
    return deleted + (f'<ins style="{_INSERTED}">{_lines(new)}</ins>' if new else "")


def _lines(text: str) -> str:
    """A text of several lines, cut and escaped."""
    shown = "\n".join(map(visible, _shortened(text, _MAX_VALUE).split("\n")))
    return html.escape(shown) + ("…" if len(text) > _MAX_VALUE else "")


def _shortened(text: str, limit: int) -> str:
    """The beginning of a text, which ends between two words, unless one word alone is longer."""
    if len(text) <= limit:
        return text
    head = text[: limit + 1]
    end = max(head.rfind(space) for space in " \n\t")
    return head[:end].rstrip() if head[: max(end, 0)].strip() else head[:limit]


def compare(old: str, new: str) -> list[tuple[str, str, str]]:
    """The differences between two texts, by words: (op, old part, new part), in order. `op` may be "equal"."""
    a, b = (re.findall(r"\s*\S+|\s+", text) for text in (old, new))
    start = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    room = min(len(a), len(b)) - start
    end = next((n for n in range(room) if a[-1 - n] != b[-1 - n]), room)
    head, tail = "".join(a[:start]), "".join(a[len(a) - end :])
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    parts = [("equal", head, head)]
    if len(a) + len(b) > _MAX_WORDS:
        parts.append(("replace", "".join(a), "".join(b)))
    else:
        codes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
        parts += [(op, "".join(a[i:j]), "".join(b[k:m])) for op, i, j, k, m in codes]
    parts.append(("equal", tail, tail))
    return [part for part in parts if part[1] or part[2]]


def bar(parts: Mapping[str, int], *, of: int | None = None, width: str = "22em") -> str:
    """A bar of parts side by side.

    Args:
        parts: the size of each part, by its tint. Every part above 0 is visible.
        of: the total of the full width; by default the sum of the parts.
    """
    total = sum(parts.values())
    if not total:
        return ""
    segments = "".join(
        f'<div style="flex:{count} 0 3px;background:{tint}"></div>' for tint, count in parts.items() if count
    )
    share = f"{100 * total / of:.1f}%" if of else "100%"
    inner = f'<div style="display:flex;gap:2px;height:100%;min-width:3px;width:{share}">{segments}</div>'
    return f'<div style="height:.55em;width:{width};max-width:100%;border-radius:2px;overflow:hidden">{inner}</div>'


def size(count: int) -> str:
    """Bytes for readers: 999 B, 1.5 KB, 12.3 MB."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("KB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:,.1f} TB"


def visible(text: str) -> str:
    """A text with escapes for all characters that do not print: NUL, ESC, line ends, lone surrogates, characters that
    change the direction of writing, ..."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, limit: int = _MAX_TEXT) -> str:
    """The beginning of a text, with escapes for characters that do not print."""
    return visible(text[:limit]) + ("…" if len(text) > limit else "")


def preview(value: Any) -> str:
    """The beginning of any value. For types that docshelf itself stores, the cost does not grow with the value."""
    try:
        if isinstance(value, str):
            return value[: _MAX_VALUE + 1]
        if isinstance(value, bytes):
            return f"{size(len(value))}: {value[:_MAX_TEXT]!r}"
        if isinstance(value, dict):
            return _SHORT.repr_dict(value, _SHORT.maxlevel)
        if value is None or isinstance(value, bool | int | float | list | tuple | set | frozenset):
            return _SHORT.repr(value)
        return str(value)[: _MAX_VALUE + 1]
    except Exception as exc:  # a document's own __str__ may raise anything, but a view must not
        return f"a {type(value).__name__} that cannot be shown ({type(exc).__name__})"


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _MAX_VALUE // 2
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 8
        self.maxlevel = 4

    def repr_int(self, number: int, level: int) -> str:
        # Python refuses to print integers with thousands of digits.
        if number.bit_length() > 1000:
            return f"an int of {number.bit_length():,} bits"
        return super().repr_int(number, level)


_SHORT: Final = _Short()


def _escaped(text: str, limit: int = _MAX_TEXT) -> str:
    return html.escape(cut(text, limit))


def _code(text: str, limit: int = _MAX_TEXT) -> str:
    return f'<span style="font-family:monospace">{_escaped(text, limit)}</span>'


def _first_names(names: Iterable[str], count: int) -> str:
    first = ", ".join(_code(name, 32) for name in islice(names, _MAX_KEYS))
    return f"{first}, and {count - _MAX_KEYS:,} more" if count > _MAX_KEYS else first


def _row(cells: Iterable[tuple[str, str]], style: str = _CELL) -> str:
    tag = "th" if style is _HEAD else "td"
    written = (f'<{tag} style="{style};{own}">{cell}</{tag}>' for cell, own in cells)
    return f"<tr>{''.join(written)}</tr>"


def _table(rows: Iterable[str]) -> str:
    return f'<table style="{_TABLE}"><tbody>{"".join(rows)}</tbody></table>'


def _titled(title: str, subtitle: str, body: str) -> str:
    note = f' <span style="{_FAINT}">{subtitle}</span>' if subtitle else ""
    # Where a table is wider than the page, the view scrolls, not the page.
    return f'<div style="overflow-x:auto"><div style="margin-bottom:.3em"><b>{title}</b>{note}</div>{body}</div>'


def _more(count: int) -> str:
    return f'<div style="{_FAINT}">and {count:,} more</div>' if count > 0 else ""


def _swatch(tint: str) -> str:
    style = f"display:inline-block;width:.65em;height:.65em;border-radius:2px;margin-right:.5em;background:{tint}"
    return f'<span style="{style}"></span>'


def _time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"
