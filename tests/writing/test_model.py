"""A store behaves like a simple model: a dict with hashes, sources and versions. Hypothesis searches differences."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from docshelf import DocShelf, Item, MassDeleteError, Report, SourceNote
from tests.conftest import Location
from tests.support.effort import examples
from tests.support.face import Face, Loop
from tests.support.operations import missing

# Few of each, so that they collide. Ordered by bytes: "B" is before "a", "é" after "z".
KEYS = ["B", "a", "a%", "z", "é"]
SOURCES = ["", "f", "g"]
# No two are the same to the store, though Python calls some equal: the model knows them by their place.
VALUES: list[Any] = [
    "x",
    b"x",
    None,
    1,
    1.0,
    True,
    {"a": [1, {"b": None}]},
    {"a": (1, {"b": None})},
    {"a": "x", "n": 1},
    {"n": 2.5},
    "y" * 1_000,
]
# Conditions, and what they mean for the fields of a value: those of a dict, and none of all others.
WHERES: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ({}, lambda fields: True),
    ({"a": "x"}, lambda fields: fields.get("a") == "x"),
    ({"a": {"$contains": 1}}, lambda fields: isinstance(fields.get("a"), list | tuple)),
    ({"a": {"$exists": False}}, lambda fields: "a" not in fields),
    ({"n": {"$lt": 2}}, lambda fields: fields.get("n", 2) < 2),
    ({"$or": [{"a": {"$in": ["x", "y"]}}, {"n": 2.5}]}, lambda fields: "n" in fields),
]

keys = st.sampled_from(KEYS)
sources = st.sampled_from(SOURCES)
maybe_source = st.none() | sources
values = st.integers(0, len(VALUES) - 1)
versions = st.none() | st.sampled_from(["v1", "v2"])
fingerprints = st.none() | st.sampled_from(["f1", "f2"])
# (key, place of the value, source, version)
items_of_any_source = st.lists(st.tuples(keys, values, maybe_source, versions), max_size=6)
items_of_one_source = st.lists(st.tuples(keys, values, st.none(), versions), max_size=6)
some_keys = st.lists(keys, max_size=4)
wheres = st.integers(0, len(WHERES) - 1)

Identity = tuple[str, str]
Change = tuple[str, str, str]


@dataclass
class Row:
    """An entry. `value` is the place in VALUES, or None where there is only a version."""

    value: int | None
    version: str | None
    inserted: tuple[int, int]
    written: int


@dataclass
class Model:
    """What a collection holds, and what each call is to do and to report."""

    rows: dict[Identity, Row] = field(default_factory=dict)
    fingerprints: dict[str, str | None] = field(default_factory=dict)
    clock: int = 0

    def stale(self, identities: Iterable[Identity], wanted: Iterable[Identity]) -> list[Identity]:
        return sorted(set(identities) - set(wanted))

    def ops(self, items: dict[Identity, tuple[int, str | None]]) -> list[Change]:
        """What writing the items would report."""
        changes = []
        for (key, source), (value, version) in items.items():
            row = self.rows.get((key, source))
            if row is None:
                op = "INS"
            elif row.value != value or (version is not None and row.version != version):
                op = "UPD"
            else:
                op = "SKIP"
            changes.append((key, op, source))
        return changes

    def write(self, items: dict[Identity, tuple[int, str | None]], changes: list[Change]) -> None:
        self.clock += 1
        for position, (key, op, source) in enumerate(changes):
            value, version = items[key, source]
            if op == "INS":
                self.rows[key, source] = Row(value, version, (self.clock, position), self.clock)
            elif op == "UPD":
                row = self.rows[key, source]
                # A new label alone does not make the entry the one written last.
                row.written = row.written if row.value == value else self.clock
                row.value, row.version = value, version

    def delete(self, identities: Iterable[Identity]) -> list[Change]:
        """Delete, and forget the fingerprints of the sources that lost entries."""
        changes = []
        for identity in identities:
            del self.rows[identity]
            key, source = identity
            changes.append((key, "DEL", source))
            if source in self.fingerprints:
                self.fingerprints[source] = None
        return changes

    def latest(self, key: str) -> Row | None:
        found = [row for (of, _), row in self.rows.items() if of == key]
        return max(found, key=lambda row: (row.written, row.inserted), default=None)

    def value(self, row: Row | None) -> Any:
        return None if row is None or row.value is None else VALUES[row.value]

    def matching(self, where: int, source: str | None) -> list[Identity]:
        """The entries whose fields meet a condition, in the order of key and source."""

        def matches(row: Row) -> bool:
            value = self.value(row)
            return WHERES[where][1](value if isinstance(value, dict) else {})

        found = [pair for pair, row in self.rows.items() if source in (None, pair[1]) and matches(row)]
        return sorted(found, key=lambda pair: (pair[0].encode(), pair[1]))


def as_items(drawn: list[tuple[str, int, str | None, str | None]]) -> list[Item]:
    return [Item(key, VALUES[value], source, version) for key, value, source, version in drawn]


def by_identity(
    drawn: list[tuple[str, int, str | None, str | None]], default: str
) -> dict[Identity, tuple[int, str | None]]:
    """The last of each identity, in the place of the first."""
    found: dict[Identity, tuple[int, str | None]] = {}
    for key, value, source, version in drawn:
        found[key, default if source is None else source] = (value, version)
    return found


def plain(report: Report) -> list[Change]:
    return [(key, op, source) for key, op, source in report]


class Store(RuleBasedStateMachine):
    """A collection and its model. A subclass provides the store."""

    def __init__(self) -> None:
        super().__init__()
        self.face = self.open()
        self.model = Model()

    def open(self) -> Face:
        raise NotImplementedError

    @rule(drawn=items_of_any_source, source=sources)
    def mset(self, drawn: list[Any], source: str) -> None:
        assert self.face.mset(as_items(drawn), source=source) is None
        items = by_identity(drawn, source)
        self.model.write(items, self.model.ops(items))

    @rule(key=keys, value=values, source=sources, version=versions)
    def conditional_set(self, key: str, value: int, source: str, version: str | None) -> None:
        items = {(key, source): (value, version)}
        [expected] = self.model.ops(items)
        assert self.face.conditional_set(key, VALUES[value], source=source, version=version) == expected[:2]
        self.model.write(items, [expected])

    @rule(key=keys, value=values, source=sources, version=versions)
    def set(self, key: str, value: int, source: str, version: str | None) -> None:
        items = {(key, source): (value, version)}
        self.model.write(items, self.model.ops(items))
        assert self.face.set(key, VALUES[value], source=source, version=version) is None

    @rule(drawn=items_of_any_source, dry_run=st.booleans())
    def conditional_mset(self, drawn: list[Any], dry_run: bool) -> None:
        items = by_identity(drawn, "f")
        expected = self.model.ops(items)
        report = self.face.conditional_mset(as_items(drawn), source="f", dry_run=dry_run)
        assert (plain(report), report.dry_run) == (expected, dry_run)
        if not dry_run:
            self.model.write(items, expected)

    @rule(drawn=items_of_one_source, source=sources)
    def move(self, drawn: list[Any], source: str) -> None:
        items = by_identity(drawn, source)
        moved = {key for key, _ in items}
        stale = self.model.stale((identity for identity in self.model.rows if identity[0] in moved), items)
        expected = self.model.ops(items)
        report = self.face.conditional_mset(as_items(drawn), source=source, move=True)
        self.model.write(items, expected)
        assert plain(report) == expected + self.model.delete(stale)

    def sync_as_modelled(
        self,
        items: dict[Identity, tuple[int, str | None]],
        standing: list[Identity],
        notes: dict[str, str | None],
        *,
        allow: bool,
        dry_run: bool,
        call: Callable[[], Report],
    ) -> None:
        """Compare one sync with the model. `standing` are the existing entries of its scope."""
        stale = self.model.stale(standing, items)
        if standing and not items and not allow and not dry_run:
            with pytest.raises(MassDeleteError):
                call()
            return
        changes = self.model.ops(items)
        deletions = [(key, "DEL", source) for key, source in stale]
        report = call()
        assert (plain(report), report.dry_run) == (changes + deletions, dry_run)
        if dry_run:
            return
        self.model.write(items, changes)
        self.model.delete(stale)
        touched = {source for _, op, source in changes + deletions if op != "SKIP"}
        told = {source: fingerprint for source, fingerprint in notes.items() if fingerprint is not None}
        self.model.fingerprints |= dict.fromkeys(touched) | told

    @rule(
        drawn=items_of_one_source,
        source=sources,
        fingerprint=fingerprints,
        allow=st.booleans(),
        dry_run=st.sampled_from([False, False, False, True]),
    )
    def sync(self, drawn: list[Any], source: str, fingerprint: str | None, allow: bool, dry_run: bool) -> None:
        self.sync_as_modelled(
            by_identity(drawn, source),
            [identity for identity in self.model.rows if identity[1] == source],
            {source: fingerprint},
            allow=allow,
            dry_run=dry_run,
            call=lambda: self.face.sync(
                as_items(drawn), source=source, fingerprint=fingerprint, allow_mass_delete=allow, dry_run=dry_run
            ),
        )

    @rule(
        drawn=items_of_any_source,
        source=sources,
        scope=st.sampled_from(["sources", "collection"]),
        notes=st.dictionaries(sources, fingerprints, max_size=2),
        allow=st.booleans(),
    )
    def sync_many(self, drawn: list[Any], source: str, scope: str, notes: dict[str, str | None], allow: bool) -> None:
        items = by_identity(drawn, source)
        named = {of for _, of in items} | notes.keys()
        self.sync_as_modelled(
            items,
            [identity for identity in self.model.rows if scope == "collection" or identity[1] in named],
            notes,
            allow=allow,
            dry_run=False,
            call=lambda: self.face.sync(
                as_items(drawn),
                source=source,
                scope=scope,
                notes={of: SourceNote(fingerprint) for of, fingerprint in notes.items()},
                allow_mass_delete=allow,
            ),
        )

    @rule(wanted=st.dictionaries(keys, st.sampled_from(["v1", "v2"]), max_size=3), source=maybe_source)
    def set_versions(self, wanted: dict[str, str], source: str | None) -> None:
        self.model.clock += 1
        expected: list[Change] = []
        for key, version in wanted.items():
            everywhere = sorted(identity for identity in self.model.rows if identity[0] == key) or [(key, "")]
            for identity in everywhere if source is None else [(key, source)]:
                row = self.model.rows.get(identity)
                op = "INS" if row is None else "SKIP" if row.version == version else "UPD"
                expected.append((key, op, identity[1]))
        assert plain(self.face.set_versions(wanted, source=source)) == expected
        written = [(key, of) for key, op, of in expected if op != "SKIP"]
        for position, identity in enumerate(written):
            new = Row(None, None, (self.model.clock, position), self.model.clock)
            self.model.rows.setdefault(identity, new).version = wanted[identity[0]]

    @rule(wanted=some_keys, source=maybe_source)
    def mdelete(self, wanted: list[str], source: str | None) -> None:
        doomed = [
            (key, of)
            for key, of in itertools.product(dict.fromkeys(wanted), SOURCES)
            if (key, of) in self.model.rows and source in (None, of)
        ]
        report = self.face.mdelete(wanted, source=source)
        assert plain(report) == self.model.delete(doomed)

    @rule(searchable=st.sampled_from([["a"], ["n"], ["a", "n"], []]))
    def make_searchable(self, searchable: list[str]) -> None:
        self.face.setup(searchable=searchable)

    @rule(where=wheres, source=maybe_source, limit=st.none() | st.integers(0, 3))
    def find(self, where: int, source: str | None, limit: int | None) -> None:
        expected = self.model.matching(where, source)
        found = list(self.face.find(WHERES[where][0], source=source, limit=limit))
        assert [(entry.key, entry.source) for entry in found] == expected[:limit]
        assert [typed(entry.value) for entry in found] == [
            typed(self.model.value(self.model.rows[pair])) for pair in expected[:limit]
        ]
        assert self.face.count(where=WHERES[where][0], source=source) == len(expected)

    @rule(where=wheres, source=maybe_source, allow=st.booleans())
    def mdelete_where(self, where: int, source: str | None, allow: bool) -> None:
        doomed = self.model.matching(where, source)
        existing = [pair for pair in self.model.rows if source in (None, pair[1])]
        call = partial(self.face.mdelete, where=WHERES[where][0], source=source, allow_mass_delete=allow)
        if doomed and len(doomed) == len(existing) and not allow:
            with pytest.raises(MassDeleteError):
                call()
            return
        assert plain(call()) == self.model.delete(sorted(doomed))

    @rule(source=sources)
    def delete_source(self, source: str) -> None:
        doomed = sorted(identity for identity in self.model.rows if identity[1] == source)
        assert plain(self.face.delete_source(source)) == self.model.delete(doomed)
        self.model.fingerprints.pop(source, None)

    @rule(several=st.lists(sources, max_size=2), wanted=some_keys)
    def delete_sources(self, several: list[str], wanted: list[str]) -> None:
        doomed = {identity for identity in self.model.rows if identity[1] in several or identity[0] in wanted}
        assert sorted(plain(self.face.delete_sources(several, keys=wanted))) == self.model.delete(sorted(doomed))
        for source in several:
            self.model.fingerprints.pop(source, None)

    @rule(key=keys, source=maybe_source, fingerprint=st.sampled_from(["f1", "f2"]))
    def read_one(self, key: str, source: str | None, fingerprint: str) -> None:
        model, face = self.model, self.face
        row = model.latest(key) if source is None else model.rows.get((key, source))
        assert typed(face.get(key, source=source)) == typed(model.value(row))
        assert face.exists(key, source=source) == (row is not None)
        entry = face.get_entry(key, source=source)
        assert (None if entry is None else (entry.version, typed(entry.value))) == (
            None if row is None else (row.version, typed(model.value(row)))
        )
        assert face.mget_entries([key, key], source=source) == [entry, entry]
        assert face.source_changed(source or "", fingerprint) == (model.fingerprints.get(source or "") != fingerprint)

    @rule(prefix=st.sampled_from(["", "a", "é", "no"]), source=maybe_source)
    def read_all(self, prefix: str, source: str | None) -> None:
        listed = [entry.key for entry in self.face.yield_entries(prefix, source=source)]
        having = {key for key, of in self.model.rows if key.startswith(prefix) and source in (None, of)}
        assert listed == sorted(having, key=str.encode)
        stats = self.face.stats()
        assert (stats.entries, stats.sources) == (len(self.model.rows), len({of for _, of in self.model.rows}))
        assert self.face.verify() == []

    @precondition(lambda self: len(self.model.rows) > 6)
    @rule()
    def clear(self) -> None:
        assert self.face.clear() == len(self.model.rows)
        self.model = Model(clock=self.model.clock)

    @precondition(lambda self: self.model.rows)
    @rule()
    def rename_collection(self) -> None:
        assert self.face.rename_collection(f"{self.face.collection}'") == len(self.model.rows)

    @precondition(lambda self: self.model.rows)
    @rule()
    def copy_collection(self) -> None:
        copy = f"{self.face.collection}+"
        assert self.face.copy_collection(copy) == len(self.model.rows)
        self.face = self.face.of(self.face.shelf.view(copy))

    @invariant()
    def reads_by_key_agree(self) -> None:
        model, face = self.model, self.face
        found = face.mget(KEYS)
        expected = [model.value(model.latest(key)) for key in KEYS]
        assert list(map(typed, found)) == list(map(typed, expected))
        present = sorted({key for key, _ in model.rows}, key=str.encode)
        assert list(face.yield_keys()) == present
        assert face.mexists(KEYS) == [key in present for key in KEYS]
        listed = list(face.yield_items("a"))
        starting = [key for key in present if key.startswith("a")]
        assert [(key, typed(value)) for key, value in listed] == [
            (key, typed(model.value(model.latest(key)))) for key in starting
        ]

    @invariant()
    def reads_by_source_agree(self) -> None:
        model, face = self.model, self.face
        for source, entries in zip(SOURCES, face.source_entries(SOURCES), strict=True):
            rows = sorted(
                ((key, row) for (key, of), row in model.rows.items() if of == source), key=lambda one: one[1].inserted
            )
            assert [(entry.key, entry.version, typed(entry.value)) for entry in entries] == [
                (key, row.version, typed(model.value(row))) for key, row in rows
            ]
        pairs = [(key, source) for key in KEYS for source in SOURCES]
        whole = [None if entry is None else typed(entry.value) for entry in face.pair_entries(pairs)]
        stored = [model.rows.get(pair) for pair in pairs]
        assert whole == [None if row is None else typed(model.value(row)) for row in stored]
        found = [typed(value) for value in face.mget(KEYS, source="f")]
        assert found == [typed(model.value(model.rows.get((key, "f")))) for key in KEYS]

    @invariant()
    def counts_agree(self) -> None:
        model, face = self.model, self.face
        assert face.count() == len(model.rows)
        assert face.count("a", source="f") == sum(key[0] == "a" and source == "f" for key, source in model.rows)
        listed = [(source.source, source.entries, source.fingerprint) for source in face.yield_sources()]
        expected = [(of, sum(source == of for _, source in model.rows), model.fingerprints.get(of)) for of in SOURCES]
        assert [(source.source, source.entries, source.fingerprint) for source in face.sources()] == listed
        # A source that had something once may still be listed.
        assert [one for one in listed if one[1:] != (0, None)] == [one for one in expected if one[1:] != (0, None)]
        noted = {source: note.fingerprint for source, note in face.source_notes(SOURCES).items()}
        assert {of: one for of, one in noted.items() if one} == {of: one for of, _, one in expected if one}
        assert face.companions() == []
        names = [(one.name, one.entries, one.sources) for one in face.collections()]
        assert [one for one in names if one[0] == face.collection and one[1]] == (
            [(face.collection, len(model.rows), len({of for _, of in model.rows}))] if model.rows else []
        )
        asked = dict.fromkeys(SOURCES, "f1")
        assert face.changed_sources(asked) == [of for of in SOURCES if model.fingerprints.get(of) != "f1"]


def typed(value: Any) -> Any:
    """A value that equals only values of its own type, all the way down."""
    if isinstance(value, dict):
        return dict, [(key, typed(item)) for key, item in sorted(value.items())]
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    return type(value), value


def test_the_model_knows_every_operation() -> None:
    called = set(re.findall(r"\bface\.(\w+)\(", inspect.getsource(Store)))
    # What these say is about the database.
    unknown = missing(called, without={"diagnose", "health", "is_set_up"})
    assert not unknown, f"{unknown}: add a rule to Store in tests/writing/test_model.py that calls it"


NO_CITUS = pytest.mark.no_citus("a table is either partitioned or distributed")


@pytest.mark.parametrize("backend", ["sqlite", "pg18", pytest.param("pg18 in partitions", marks=NO_CITUS)])
def test_a_store_behaves_like_the_model(
    backend: str, mode: str, loop: Loop, new_location: Callable[[str], Location]
) -> None:
    numbers = itertools.count()

    server, _, partitioned = backend.partition(" in ")
    with DocShelf(new_location(server).url) as shelf:
        if partitioned:
            shelf.setup(partitions=3)

        class Opened(Store):
            def open(self) -> Face:
                # Each example has a collection of its own, between those of the others.
                return Face(shelf.view(f"example {next(numbers)}"), mode, loop)

        run: Any = run_state_machine_as_test  # older versions of hypothesis, as Python 3.10 gets one, do not type it
        run(
            Opened,
            settings=settings(
                max_examples=examples(40),
                stateful_step_count=20,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            ),
        )
