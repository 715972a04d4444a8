"""The record manager under LangChain's `index` and `aindex`: as SQLRecordManager, without its faults."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_classic.indexes import SQLRecordManager
from langchain_core.documents import Document
from langchain_core.indexing import aindex, index

from docshelf import ArgumentValueError, ConfigurationError, DocShelf, MassDeleteError
from docshelf.moving import migrate
from docshelf.records import Record, Records
from langchain_docshelf import DocShelfRecordManager
from langchain_docshelf.moving import from_record_table
from tests.adapters.langchain.indexing import MODES, Indexing, Vectors, doc
from tests.conftest import Location

STORIES: dict[str, list[tuple[list[Document], dict[str, Any]]]] = {
    "the same again": [([doc("one"), doc("two", "b.md")], {}), ([doc("one"), doc("two", "b.md")], {})],
    "a changed text": [([doc("one"), doc("two")], {}), ([doc("one"), doc("new")], {})],
    "a text that went": [
        ([doc("one"), doc("two"), doc("three", "b.md")], {}),
        ([doc("one"), doc("three", "b.md")], {}),
    ],
    "a file that went": [([doc("one"), doc("two", "b.md")], {}), ([doc("one")], {})],
    "nothing": [([doc("one"), doc("two", "b.md")], {}), ([], {})],
    "repeated texts": [([doc("one"), doc("one"), doc("two")], {}), ([doc("two"), doc("one"), doc("two")], {})],
    "in batches": [
        ([doc(f"{n}") for n in range(7)], {"batch_size": 3}),
        ([doc(f"{n}") for n in range(2, 9)], {"batch_size": 3}),
        ([doc(f"{n}", f"{n % 2}.md") for n in range(9)], {"batch_size": 2, "cleanup_batch_size": 2}),
    ],
    "by force": [([doc("one"), doc("two")], {}), ([doc("one"), doc("two")], {"force_update": True})],
    "and back": [([doc("one"), doc("two")], {}), ([doc("one")], {}), ([doc("one"), doc("two")], {}), ([], {})],
    "two files of one text": [([doc("one"), doc("one", "b.md")], {}), ([doc("one", "b.md"), doc("two")], {})],
}


@pytest.mark.parametrize("cleanup", MODES)
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_every_cleanup_does_what_it_does_on_sql_record_manager(
    ours: Callable[..., Indexing],
    theirs: Callable[[], Indexing],
    cleanup: Any,
    story: list[tuple[list[Document], dict[str, Any]]],
) -> None:
    mine, other = ours(), theirs()
    for documents, options in story:
        assert mine.run(documents, cleanup=cleanup, **options) == other.run(documents, cleanup=cleanup, **options)
        assert mine.vectors.texts() == other.vectors.texts()
        assert mine.call("list_keys") == sorted(other.call("list_keys"))
    assert mine.vectors.embedded == other.vectors.embedded


class TestWhatItMends:
    def test_a_failed_write_leaves_no_document_without_its_source(self, ours: Callable[..., Indexing]) -> None:
        indexing = ours()
        indexing.run([doc("one"), doc("two")], cleanup="incremental")
        indexing.vectors.fails = True
        with pytest.raises(ConnectionError):
            indexing.run([doc("one"), doc("new")], cleanup="incremental")
        indexing.vectors.fails = False
        # SQLRecordManager has forgotten by now that "one" is of a.md, and leaves it there for ever.
        report = indexing.run([doc("new")], cleanup="incremental")
        assert (report["num_deleted"], indexing.vectors.texts()) == (2, ["new"])

    def test_a_lost_vector_store_is_filled_again(self, ours: Callable[..., Indexing]) -> None:
        indexing = ours(asks=True)
        documents = [doc(f"{n}") for n in range(5)]
        indexing.run(documents)
        assert indexing.run(documents)["num_skipped"] == 5
        indexing.vectors.store.clear()
        assert indexing.run(documents)["num_added"] == 5
        assert len(indexing.vectors.texts()) == 5
        indexing.vectors.delete(list(indexing.vectors.store)[:2])
        assert indexing.run(documents)["num_added"] == 2
        assert indexing.run(documents)["num_skipped"] == 5

    def test_a_text_of_two_sources_goes_with_the_second(self, ours: Callable[..., Indexing]) -> None:
        indexing = ours()
        by_text = {"key_encoder": lambda document: document.page_content, "cleanup": "incremental"}
        both = [doc("shared"), doc("of a"), doc("shared", "b.md"), doc("of b", "b.md")]
        indexing.run(both, **by_text, batch_size=2)
        assert indexing.run([doc("of a")], **by_text)["num_deleted"] == 0
        assert indexing.vectors.texts() == ["of a", "of b", "shared"]
        assert indexing.run([doc("of b", "b.md")], **by_text)["num_deleted"] == 1
        assert indexing.vectors.texts() == ["of a", "of b"]
        indexing.run([doc("shared"), doc("of a")], **by_text)
        indexing.run([doc("shared", "b.md")], **by_text)
        assert indexing.run([doc("of a")], **by_text)["num_deleted"] == 0
        assert indexing.run([doc("of b", "b.md")], **{**by_text, "cleanup": "scoped_full"})["num_deleted"] == 1

    def test_a_full_cleanup_takes_what_no_source_has_any_more(self, ours: Callable[..., Indexing]) -> None:
        indexing = ours()
        by_text = {"key_encoder": lambda document: document.page_content}
        indexing.run([doc("shared"), doc("shared", "b.md"), doc("other", "c.md")], **by_text, batch_size=1)
        assert indexing.run([doc("shared", "b.md")], cleanup="full", **by_text)["num_deleted"] == 1
        assert indexing.run([], cleanup="full", **by_text)["num_deleted"] == 1
        assert indexing.vectors.texts() == []

    def test_an_empty_loader_may_be_refused(self, ours: Callable[..., Indexing]) -> None:
        indexing = ours(refuse_empty=True)
        indexing.run([doc("one"), doc("two", "b.md")], cleanup="full")
        with pytest.raises(MassDeleteError, match="every document of the namespace 'docs': none came from the loader"):
            indexing.run([], cleanup="full")
        assert indexing.vectors.texts() == ["one", "two"]
        assert indexing.run([doc("one")], cleanup="full")["num_deleted"] == 1
        cleared = ours(vectors=indexing.vectors)
        assert cleared.run([], cleanup="full")["num_deleted"] == 1

    def test_what_it_cannot_mend(self, ours: Callable[..., Indexing], theirs: Callable[[], Indexing]) -> None:
        # `incremental` cleans up after each batch, and takes the texts of the batches to come for gone.
        documents = [doc(f"{n}") for n in range(250)]
        for indexing in (ours(), theirs()):
            indexing.run(documents, cleanup="incremental", batch_size=100)
            indexing.vectors.embedded.clear()
            indexing.run([*documents[:-1], doc("new")], cleanup="incremental", batch_size=100)
            assert len(indexing.vectors.embedded) == 150
        scoped = ours("scoped")
        scoped.run(documents, cleanup="scoped_full", batch_size=100)
        scoped.vectors.embedded.clear()
        scoped.run([*documents[:-1], doc("new")], cleanup="scoped_full", batch_size=100)
        assert scoped.vectors.embedded == ["new"]


class TestTheContract:
    def test_times_rise_and_bounds_are_strict(self, ours: Callable[..., Indexing]) -> None:
        manager = ours()
        first = manager.call("get_time")
        manager.call("update", ["a", "b"], group_ids=["f", None], time_at_least=first)
        second = manager.call("get_time")
        assert second > first
        manager.call("update", ["c"], group_ids=["f"], time_at_least=second)
        third = manager.call("get_time")
        assert third > second
        assert manager.call("list_keys") == ["a", "b", "c"]
        assert manager.call("list_keys", before=second) == ["a", "b"]
        assert manager.call("list_keys", after=second) == ["c"]
        assert manager.call("list_keys", before=third, after=third) == []
        assert manager.call("list_keys", group_ids=["f"]) == ["a", "c"]
        assert manager.call("list_keys", group_ids=["f"], before=second) == ["a"]
        assert manager.call("list_keys", group_ids=["no"]) == []
        assert manager.call("list_keys", group_ids=[]) == ["a", "b", "c"]
        assert manager.call("list_keys", limit=2) == ["a", "b"]
        assert manager.call("list_keys", limit=0) == []
        assert manager.call("exists", ["c", "no", "a"]) == [True, False, True]
        assert manager.call("exists", []) == []
        manager.call("delete_keys", ["a", "no"])
        assert manager.call("list_keys") == ["b", "c"]
        manager.call("update", [])

    def test_a_time_that_is_written_is_not_before_the_run(self, ours: Callable[..., Indexing]) -> None:
        manager = ours()
        future = manager.call("get_time") + 3_600
        manager.call("update", ["a"], group_ids=["f"], time_at_least=future)
        assert manager.call("list_keys", before=future) == []
        # The clock is an hour behind now, and no time goes back.
        start = manager.call("get_time")
        assert start > future
        manager.call("update", ["b"], group_ids=["f"], time_at_least=start)
        assert manager.call("list_keys", before=start) == ["a"]
        assert manager.call("list_keys", after=future) == ["b"]

    def test_a_refresh_keeps_the_group_and_the_time_there(self, ours: Callable[..., Indexing]) -> None:
        manager = ours()
        manager.call("update", ["a"], group_ids=["f"])
        start = manager.call("get_time")
        manager.call("update", ["a", "new"], time_at_least=start)
        assert manager.call("list_keys", before=start) == []
        assert manager.call("list_keys", group_ids=["f"]) == ["a"]
        assert manager.call("list_keys", group_ids=["f"], before=start) == ["a"]
        assert manager.call("list_keys", after=start - 1) == ["a", "new"]

    def test_many_keys_are_listed_in_parts(self, ours: Callable[..., Indexing]) -> None:
        manager = ours()
        keys = [f"k{n:05}" for n in range(5_000)]
        manager.call("update", keys, group_ids=["f"] * 5_000)
        manager.call("update", keys[:3_000], group_ids=["g"] * 3_000)
        start = manager.call("get_time")
        assert manager.call("list_keys", group_ids=["f"], before=start) == keys[3_000:]
        assert manager.call("list_keys", group_ids=["f"], before=start, limit=7) == keys[3_000:3_007]
        assert manager.call("list_keys", group_ids=["f", "g"], before=start) == keys

    def test_groups_and_keys_of_any_text(self, ours: Callable[..., Indexing]) -> None:
        manager = ours("x" * 200 + "/ü%_")
        long = "https://host/" + "x" * 5_000
        manager.call("update", ["k", "%", "_"], group_ids=[long, "%", "\0"])
        assert manager.call("list_keys", group_ids=[long]) == ["k"]
        assert manager.call("list_keys", group_ids=["%", "\0"]) == ["%", "_"]
        with pytest.raises(ValueError, match=r"there are 2 keys and 1 groups; give a group for each key"):
            manager.call("update", ["a", "b"], group_ids=["f"])
        with pytest.raises(ArgumentValueError, match="limit=-1"):
            manager.call("list_keys", limit=-1)

    def test_namespaces_are_separate_and_apart_from_documents(
        self, ours: Callable[..., Indexing], place: Location
    ) -> None:
        one, other = ours("one"), ours("other")
        one.call("update", ["a"])
        assert other.call("list_keys") == []
        with DocShelf(place.url, "one") as shelf:
            assert shelf.count() == 0
        shared = DocShelfRecordManager("one", shelf=one.manager.shelf)  # type: ignore[attr-defined]
        assert shared.list_keys() == ["a"] if one.mode == "sync" else True
        with pytest.raises(ConfigurationError, match="both shelf and url"):
            DocShelfRecordManager("one", url=place.url, shelf=shared.shelf)
        with pytest.raises(ConfigurationError, match="the namespace is empty"):
            DocShelfRecordManager("", url=place.url)
        with pytest.raises(ConfigurationError, match="vectorstore is a dict"):
            DocShelfRecordManager("x", url=place.url, vectorstore={})  # type: ignore[arg-type]

    def test_it_travels_to_another_process(self, ours: Callable[..., Indexing]) -> None:
        manager = ours(refuse_empty=True)
        manager.call("update", ["a"])
        with pickle.loads(pickle.dumps(manager.manager)) as there:
            assert (there.namespace, there.list_keys()) == ("docs", ["a"])
            assert there._refuse_empty

    def test_one_object_serves_both(self, place: Location) -> None:
        with DocShelfRecordManager("docs", url=place.url) as manager:
            index([doc("one")], manager, Vectors(), key_encoder="sha256")

            async def story() -> list[str]:
                await aindex([doc("two")], manager, Vectors(), key_encoder="sha256")
                found = await manager.alist_keys()
                await manager.aclose()
                return found

            assert len(asyncio.run(story())) == 2


class TestComingFromSQLRecordManager:
    def test_nothing_is_embedded_again(
        self, ours: Callable[..., Indexing], theirs: Callable[[], Indexing], new_location: Callable[[str], Location]
    ) -> None:
        old = theirs()
        documents = [doc(f"{n}", f"{n % 3}.md") for n in range(30)]
        old.run(documents, cleanup="full")
        mine = ours(vectors=old.vectors)
        assert migrate(old.manager, mine.manager, dry_run=True).counts["INS"] == 30
        report = migrate(old.manager, mine.manager)
        assert (report.counts["INS"], report.compared) == (30, True)
        assert migrate(old.manager, mine.manager).counts["SKIP"] == 30
        old.vectors.embedded.clear()
        assert mine.run(documents, cleanup="incremental") == {
            **{"num_added": 0, "num_updated": 0},
            **{"num_skipped": 30, "num_deleted": 0},
        }
        assert old.vectors.embedded == []
        kept = [one for one in documents if one.page_content not in ("3", "4")]
        assert mine.run([*kept, doc("new", "0.md")], cleanup="full")["num_deleted"] == 2
        assert mine.vectors.embedded == ["new"]

    def test_a_table_is_named_by_its_namespace(
        self, ours: Callable[..., Indexing], new_location: Callable[[str], Location]
    ) -> None:
        place = new_location("sqlite")
        for namespace in ("one", "two"):
            old = SQLRecordManager(namespace, db_url=place.sync_url)
            old.create_schema()
            old.update([f"{namespace} a", f"{namespace} b"], group_ids=[None, "f"])
            old.engine.dispose()
        mine = ours()
        with pytest.raises(ConfigurationError, match="several namespaces in upsertion_record: 'one', 'two'"):
            migrate(place.url, mine.manager)
        migrate(place.url, mine.manager, collection="one")
        migrate(from_record_table(place.url, "two"), mine.manager)
        assert mine.call("list_keys") == ["one a", "one b", "two a", "two b"]
        assert mine.call("list_keys", group_ids=["f"]) == ["one b", "two b"]


def test_records_that_are_there_are_not_restored(place: Location) -> None:
    with DocShelf(place.url) as shelf:
        records = Records(shelf)
        records.update(["a"], groups=["f"])
        now = records.now()
        report = records.restore([Record("a", "f", now + 100), Record("b", "", 1.5)])
        assert report.counts == {"INS": 1, "UPD": 0, "SKIP": 1, "DEL": 0}
        assert records.list_keys(after=now) == []
        assert records.list_keys(before=2.0) == ["b"]
        assert records.exist(["a", "b", "c"]) == [True, True, False]
        assert records.is_any_since(1.5)
        records.delete(["a", "b"])
        assert not records.is_any_since(0.0)
