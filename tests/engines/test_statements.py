"""How many statements an operation sends, and what statements must not contain."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from docshelf import DocShelf, Item, SourceNote
from docshelf.operations import reading
from docshelf.sql.dialects import dialect_for
from tests.conftest import POSTGRESQL, Location
from tests.support.face import Face, Loop
from tests.support.operations import OPERATIONS, fill, missing
from tests.support.statements import of_operations, recorded_statements
from tests.support.tables import TABLES, contents

# Both are large enough for a COPY, with its savepoint, on PostgreSQL.
FEW, MANY = 60, 1_000


def sent(call: Callable[..., object], *args: Any, **options: Any) -> int:
    """How many statements a call sends."""
    with recorded_statements() as statements:
        call(*args, **options)
    return len(of_operations(statements))


def filled(face: Face, size: int, name: str = "") -> Face:
    """A collection of its own with that many entries in one source."""
    sized = face.of(face.shelf.view(f"{size} {name}"))
    sized.sync(items(size), source="f", fingerprint="f1")
    return sized


def items(size: int, value: Any = "value") -> dict[str, Any]:
    return {f"k{number}": value for number in range(size)}


READS: dict[str, Callable[[Face, list[str]], object]] = {
    "get": lambda face, keys: face.get(keys[0]),
    "get_entry": lambda face, keys: face.get_entry(keys[0]),
    "mget": lambda face, keys: face.mget(keys),
    "mget of a source": lambda face, keys: face.mget(keys, source="f"),
    "mget of the absent": lambda face, keys: face.mget([f"no {key}" for key in keys]),
    "mget_entries": lambda face, keys: face.mget_entries(keys),
    "pair_entries": lambda face, keys: face.pair_entries([(key, "f") for key in keys]),
    "source_entries": lambda face, keys: face.source_entries(["f", *keys]),
    "exists": lambda face, keys: face.exists(keys[0]),
    "mexists": lambda face, keys: face.mexists(keys),
    "count": lambda face, keys: face.count("k", source="f"),
    "source_notes": lambda face, keys: face.source_notes(keys),
    "source_changed": lambda face, keys: face.source_changed("f", "f1"),
    "changed_sources": lambda face, keys: face.changed_sources(dict.fromkeys(keys, "f1")),
    "unchanged set": lambda face, keys: face.set(keys[0], "value", source="f"),
    "unchanged mset": lambda face, keys: face.mset(dict.fromkeys(keys, "value"), source="f"),
    "unchanged sync": lambda face, keys: face.sync(dict.fromkeys(keys, "value"), source="f"),
    "unchanged sync of the collection": lambda face, keys: face.sync(
        [Item(key, "value", "f") for key in keys], scope="collection"
    ),
    "dry run": lambda face, keys: face.sync({"new": 1}, source="f", dry_run=True),
    "same versions": lambda face, keys: face.set_versions(dict.fromkeys(keys, "v")),
}
WRITES: dict[str, Callable[[Face, list[str]], object]] = {
    "mset of new": lambda face, keys: face.mset(dict.fromkeys(keys, "value"), source="new"),
    "mset of changed": lambda face, keys: face.mset(dict.fromkeys(keys, "changed"), source="f"),
    "sync of changed": lambda face, keys: face.sync(dict.fromkeys(keys, "changed"), source="f"),
    "sync that replaces all": lambda face, keys: face.sync({f"new {key}": 1 for key in keys}, source="f"),
    "sync of many sources": lambda face, keys: face.sync([Item(key, 1, key) for key in keys], scope="sources"),
    "move": lambda face, keys: face.conditional_mset(dict.fromkeys(keys, "value"), source="new", move=True),
    "set_versions": lambda face, keys: face.set_versions(dict.fromkeys(keys, "v2")),
    "mdelete": lambda face, keys: face.mdelete(keys),
    "mdelete of a source": lambda face, keys: face.mdelete(keys, source="f"),
    "mdelete of the absent": lambda face, keys: face.mdelete([f"no {key}" for key in keys]),
    "conditional_mset of changed": lambda face, keys: face.conditional_mset(dict.fromkeys(keys, "changed"), source="f"),
    "conditional_set of a changed": lambda face, keys: face.conditional_set(keys[0], "changed", source="f"),
    "delete_source": lambda face, keys: face.delete_source("f"),
    "delete_sources with keys": lambda face, keys: face.delete_sources(["f"], keys=keys),
    "clear": lambda face, keys: face.clear(),
    "companions": lambda face, keys: face.companions(),
    "rename_collection": lambda face, keys: face.rename_collection(f"renamed of {len(keys)}"),
    "copy_collection": lambda face, keys: face.copy_collection(f"copy of {len(keys)}"),
    "sources": lambda face, keys: face.sources(),
    "collections": lambda face, keys: face.collections(),
    "diagnose": lambda face, keys: face.diagnose(),
    "health": lambda face, keys: face.health(),
    "is_set_up": lambda face, keys: face.is_set_up(),
    "stats": lambda face, keys: face.stats(),
    "yield_keys": lambda face, keys: list(face.yield_keys()),
    "yield_sources": lambda face, keys: list(face.yield_sources()),
    "yield_entries": lambda face, keys: list(face.yield_entries(values=False)),
}
# `find`, `verify` and `yield_items` read values in batches of a size in bytes; `setup` is about tables.
UNCOUNTED = {"find", "setup", "verify", "yield_items"}


def test_the_statements_of_every_operation_are_counted() -> None:
    counted = {word for name in READS | WRITES for word in name.split()}
    assert not missing(counted, without=UNCOUNTED), "add a call to READS or WRITES, which says how statements grow"


def test_an_operation_that_reads_changes_nothing_and_one_that_writes_does(face: Face, location: Location) -> None:
    changing = {}
    for operation in OPERATIONS:
        sized = face.of(face.shelf.view(operation.name))
        fill(sized)
        before = contents(location)
        operation.call(sized)
        changing[operation.name] = contents(location) != before
    # Here the tables are there already.
    assert changing == {operation.name: operation.writes and operation.name != "setup" for operation in OPERATIONS}


def test_reads_and_unchanged_writes_of_any_size_are_one_statement(face: Face) -> None:
    few, many = filled(face, FEW), filled(face, MANY)
    for sized, size in ((few, FEW), (many, MANY)):
        keys = list(items(size))
        sized.set_versions(dict.fromkeys(keys, "v"))
        counts = {name: sent(read, sized, keys) for name, read in READS.items()}
        assert counts == dict.fromkeys(READS, 1)


@pytest.mark.no_citus("the rows of an upsert are split into few lengths")
def test_the_number_of_statements_does_not_grow_with_the_number_of_items(face: Face) -> None:
    counts: dict[int, dict[str, int]] = {FEW: {}, MANY: {}}
    for size, of_size in counts.items():
        for name, write in WRITES.items():
            sized = filled(face, size, name)
            of_size[name] = sent(write, sized, list(items(size)))
    assert counts[FEW] == counts[MANY]
    assert min(counts[FEW].values()) > 0


def test_an_unchanged_sync_with_a_fingerprint_is_two_statements(face: Face) -> None:
    for size in (FEW, MANY):
        sized = filled(face, size)
        assert sent(sized.sync, items(size), source="f", fingerprint="f1") == 2


def test_an_unchanged_write_of_many_sources_is_a_statement_or_two(face: Face) -> None:
    for size in (FEW, MANY):
        sized = face.of(face.shelf.view(f"{size}"))
        mixed = [Item(f"k{number}", "value", f"s{number % 50}") for number in range(size)]
        sized.mset(mixed)
        assert sent(sized.mset, mixed) == 1
        # These keys have more than twice as many entries as were asked for.
        sized.mset([item._replace(source=f"other {number}") for item in mixed for number in range(2)])
        assert sent(sized.mset, mixed) == 2


def test_an_empty_batch_is_no_statement(face: Face) -> None:
    face.setup()
    lists = ("mset", "conditional_mset", "mget", "mget_entries", "pair_entries", "mexists", "mdelete", "source_entries")
    counts = {name: sent(getattr(face, name), []) for name in lists}
    counts |= {name: sent(getattr(face, name), {}) for name in ("set_versions", "changed_sources")}
    assert set(counts.values()) == {0}


def test_upserts_and_deletions_grow_by_chunks_only(face: Face, location: Location) -> None:
    chunk = dialect_for(location.dialect, TABLES).chunk_rows
    names = iter("abcdef")

    def new(size: int) -> tuple[int, int]:
        """Statements of a cold write of so many items, and of deleting them."""
        sized = face.of(face.shelf.view(next(names)))
        return sent(sized.mset, items(size)), sent(sized.sync, [], allow_mass_delete=True)

    face.setup()
    (write_one, delete_one), *others = [new(size) for size in (100, chunk, chunk + 100, 2 * chunk + 100)]
    for one, many in ((write_one, [write for write, _ in others]), (delete_one, [delete for _, delete in others])):
        steps = [count - one for count in many]
        assert steps[0] == 0
        assert steps[2] == 2 * steps[1] > 0


def test_statements_grow_by_twenty_thousand_keys_or_two_thousand_values_only(face: Face) -> None:
    face.set("k7", "value")
    keys = list(items(20_001))
    assert sent(face.mexists, keys[:-1]) == 1
    assert sent(face.mexists, keys) == 2
    for read in (face.mget, face.mget_entries):
        assert sent(read, keys[:2_000]) == 1
        assert sent(read, keys[:2_001]) == 2


@pytest.mark.no_citus("the rows of every upsert are in its text")
@pytest.mark.parametrize("location", POSTGRESQL, indirect=True)
def test_few_rows_are_in_the_text_of_an_upsert_and_more_are_arrays(face: Face) -> None:
    few, more = items(16), items(17)
    face.mset(more)
    for value, expected in (({**few}, [False]), ({**more}, [True])):
        with recorded_statements() as statements:
            face.mset(dict.fromkeys(value, f"of {len(value)}"))
        assert ["unnest" in statement for statement in statements if "DO UPDATE" in statement] == expected
        assert face.mget([*value]) == [f"of {len(value)}"] * len(value)


def test_a_source_is_deleted_by_as_many_statements_whatever_its_size(face: Face) -> None:
    counts = set()
    for size in (1, 2_100):
        sized = filled(face, size)
        counts.add(sent(sized.delete_sources, ["f", "absent"]))
        assert sized.count() == 0
    assert len(counts) == 1


def test_yield_keys_is_a_statement_a_page(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE_KEYS", 10)
    face.mset(items(35))
    assert sent(list, face.yield_keys()) <= 5


def test_yield_items_is_a_statement_a_page_and_one_a_batch(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAGE_VALUES", 10)
    face.mset(items(35))
    assert sent(list, face.yield_items()) == 1 + 4 + 1  # the last page is empty
    assert sent(list, face.yield_items(source="none")) == 1


def every_statement(face: Face) -> list[str]:
    """The statements of all operations."""
    with recorded_statements() as statements:
        face.sync(items(FEW), source="f", fingerprint="f1")
        face.sync(items(FEW, "changed") | {"new": 1}, source="f", metadata={"a": 1})
        face.sync({"a": 1}, source="f")
        face.sync([Item("a", 1, "f"), Item("b", 1, "g")], scope="sources", notes={"g": SourceNote("g1")})
        face.sync([Item("a", 1, "f")], scope="collection")
        face.conditional_mset([Item("a", 1, "h")], move=True)
        face.set_versions({"a": "v", "b": "v"})
        face.mset([Item("a", 1, "x"), Item("b", 1, "y")])
        for read in READS.values():
            read(face, ["a", "b"])
            read(face, list(items(FEW)))
        for write in WRITES.values():
            face.mset({"a": 1}, source="f")
            write(face, ["a", "b"])
        list(face.yield_items("a", source="f"))
        face.verify()
    return statements


def check_rules(statements: list[str]) -> None:
    """What all layouts of the entries need: one table, partitions, and Citus."""
    upserts = [statement for statement in statements if "DO UPDATE" in statement]
    assert len(upserts) > 4
    for statement in statements:
        assert not re.search(r"\b(xmax|MERGE|RECURSIVE|DECLARE)\b|FOR\s+UPDATE", statement, re.IGNORECASE)
        # SQLite, and PostgreSQL before 17, would try every key in every source.
        assert not re.search(r"\bkey (= ANY|IN).*\bsource (= ANY|IN)", statement, re.DOTALL)
    for statement in upserts:
        update = statement.partition("DO UPDATE")[2]
        assert not re.search(r"\bnow\b|CURRENT_|clock_timestamp|DEFAULT", update, re.IGNORECASE)
        assert "excluded.updated_at" in update or "excluded.synced_at" in update


def test_no_statement_needs_a_feature_that_partitions_lack(face: Face) -> None:
    check_rules(every_statement(face))


def test_no_statement_needs_a_feature_that_citus_lacks(citus_location: Location, mode: str, loop: Loop) -> None:
    with contextlib.closing(Face(DocShelf(citus_location.url), mode, loop)) as face:
        face.setup(distribute="citus")
        statements = every_statement(face)
    check_rules(statements)
    for statement in statements:
        # Citus takes no LATERAL with a LIMIT. It pulls what an INSERT selects through the coordinator and locks shards.
        assert not re.search(r"\bLATERAL\b", statement, re.IGNORECASE)
        assert not re.search(r"\bINSERT\b.*\bunnest\b", statement, re.IGNORECASE | re.DOTALL)
        # Each write takes docshelf's locks first. From then on the locks of Citus only make other collections wait.
        if "pg_advisory_xact_lock" in statement:
            assert "set_config('citus.enable_deadlock_prevention', 'off', true)" in statement
