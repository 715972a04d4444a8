"""The document store: what comes back, sources, reports, and rows that others wrote."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumpd
from sqlalchemy import text

from docshelf import (
    ArgumentTypeError,
    ConfigurationError,
    CorruptEntryError,
    CorruptEntryWarning,
    DocShelf,
    Item,
    MassDeleteError,
    SourceNote,
    UnsupportedValueError,
)
from langchain_docshelf import DocShelfByteStore, DocShelfStore, StoredDocument
from tests.adapters.langchain.twins import Twin, page
from tests.conftest import Location
from tests.support.tables import connected
from tests.support.values import shape


class Page(Document):
    """A user's own document."""

    type: Literal["Page"] = "Page"  # type: ignore[assignment]
    number: int
    printed: dt.date | None = None


ODD_METADATA: dict[Any, Any] = {
    "when": dt.datetime(2024, 3, 1, 12, 30, tzinfo=dt.timezone.utc),
    "day": dt.date(2024, 3, 1),
    "id": UUID("12345678-1234-5678-1234-567812345678"),
    "price": Decimal("1.10"),
    "raw": b"\0\xff",
    "tags": {"a", "b"},
    "box": (1, 2.5, None),
    "nested": {"pages": [{"loc": {"from": 1, "to": 2}}], 7: "int key"},
    "odd text": "NUL \0 and \ud800",
}


def keys(report: Any) -> list[tuple[str, str, str]]:
    return [(change.op, change.key, change.source) for change in report]


class TestRoundTrip:
    def test_odd_metadata_comes_back_with_equal_values_and_types(self, store: Twin) -> None:
        document = Document(id="d", page_content="text", metadata=ODD_METADATA)
        store.mset([("k", document)])
        [got] = store.mget(["k"])
        assert type(got) is Document
        assert (got.id, got.page_content, got.type) == ("d", "text", "Document")
        assert shape(got.metadata) == shape(ODD_METADATA)

    def test_a_document_without_id_and_metadata_comes_back_without(self, store: Twin) -> None:
        store.mset([("k", Document(page_content=""))])
        assert store.mget(["k"]) == [Document(page_content="")]

    def test_a_document_that_is_read_behaves_as_a_new_one(self, store: Twin) -> None:
        made = Document(id="d", page_content="text", metadata={"a": [1]})
        store.mset([("k", made), ("other", Document(page_content="other"))])
        read, other = store.mget(["k", "other"])
        views: list[Callable[[Document], Any]] = [
            repr,
            dumpd,
            Document.model_dump_json,
            lambda document: document.model_dump(exclude_unset=True),
            lambda document: sorted(document.model_fields_set),
            lambda document: document.model_copy(update={"page_content": "x"}),
            lambda document: pickle.loads(pickle.dumps(document)),
            copy.deepcopy,
        ]
        assert [view(read) for view in views] == [view(made) for view in views]
        read.type = "Document"
        read.metadata["b"] = 1
        assert (other.metadata, "type" in other.model_fields_set) == ({}, False)

    def test_writing_does_not_change_the_document(self, store: Twin) -> None:
        document = Document(page_content="x", metadata={"tags": {"a"}, "box": (1,), 7: 2**70, "$": "\ud800"})
        before = copy.deepcopy(document)
        store.mset([("k", document)])
        assert (document, shape(document.metadata)) == (before, shape(before.metadata))

    @pytest.mark.parametrize(
        "metadata",
        [
            {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "document", "Document"], "kwargs": {}},
            {"$decimal": "1"},
            {"$tuple": [1]},
            {"class_name": "Page", "fields": {"number": 1}, "page_content": "x"},
            {"lc": {"lc": 1, "type": "secret", "id": ["PATH"]}},
        ],
    )
    def test_metadata_that_looks_like_a_tag_is_plain_data(self, store: Twin, metadata: dict[str, Any]) -> None:
        document = Document(page_content="x", metadata=metadata)
        store.mset([("k", document)])
        [got] = store.mget(["k"])
        assert (type(got), got) == (Document, document)

    def test_a_document_that_cannot_be_stored_is_an_error_and_nothing_is_written(self, store: Twin) -> None:
        with pytest.raises(UnsupportedValueError, match=r"key 'b': metadata\.pages\[1\]: cannot store a object"):
            store.mset([("a", page("a")), ("b", page("b", pages=[1, object()]))])
        assert store.yield_keys() == []

    @pytest.mark.parametrize("value", ["text", {"page_content": "x"}, None, b"x"])
    def test_only_documents_go_in(self, store: Twin, value: Any) -> None:
        with pytest.raises(ArgumentTypeError, match=r"key 'b': the value is a .*; give a Document"):
            store.mset([("a", page("a")), ("b", value)])
        assert store.mget(["a"]) == [None]


class TestSubclasses:
    DOCUMENT = Page(id="p", page_content="text", metadata={"a": 1}, number=3, printed=dt.date(2024, 1, 1))

    def test_a_registered_subclass_comes_back_as_itself(self, new_store: Callable[..., Twin]) -> None:
        store = new_store(document_types=[Page])
        store.mset([("k", self.DOCUMENT), ("plain", page("x"))])
        assert store.mget(["k", "plain"]) == [self.DOCUMENT, page("x")]

    def test_another_subclass_comes_back_with_all_its_data(self, store: Twin) -> None:
        store.mset([("k", self.DOCUMENT)])
        [got] = store.mget(["k"])
        assert type(got) is StoredDocument
        assert got.class_name == "Page"
        assert got.model_dump() == self.DOCUMENT.model_dump()
        assert (got.type, *(getattr(got, name) for name in ("number", "printed"))) == ("Page", 3, dt.date(2024, 1, 1))

    def test_writing_a_stored_document_back_changes_nothing(self, new_store: Callable[..., Twin]) -> None:
        store = new_store()
        store.mset([("k", self.DOCUMENT)])
        report = store.conditional_mset([("k", store.mget(["k"])[0])])
        assert keys(report) == [("SKIP", "k", "")]

    def test_a_row_names_no_class_that_was_not_registered(self, new_store: Callable[..., Twin]) -> None:
        new_store(document_types=[Page]).mset([("k", self.DOCUMENT)])
        assert type(new_store().mget(["k"])[0]) is StoredDocument

    def test_a_row_that_its_class_refuses_is_corrupt(self, new_store: Callable[..., Twin]) -> None:
        class Other(Document):
            number: str = "text"

        Other.__name__ = "Page"
        new_store().mset([("k", Other(page_content="x"))])
        with pytest.raises(CorruptEntryError, match="not a langchain/document"):
            new_store(document_types=[Page]).mget(["k"])

    def test_only_document_classes_can_be_registered(self) -> None:
        with pytest.raises(ConfigurationError, match="not a document class"):
            DocShelfStore(document_types=[str])  # type: ignore[list-item]

    def test_two_classes_of_one_name_cannot_be_registered(self) -> None:
        other = type("Page", (Document,), {})
        with pytest.raises(ConfigurationError, match="two document classes of the name 'Page'"):
            DocShelfStore(document_types=[Page, other])


class TestSources:
    def test_the_source_of_a_document_is_what_its_metadata_names(self, store: Twin) -> None:
        store.mset([("a", page("a", "a.md")), ("b", page("b", "b.md")), ("c", page("c"))])
        assert [(source.source, source.entries) for source in store.sources()] == [("", 1), ("a.md", 1), ("b.md", 1)]

    def test_source_none_in_metadata_means_no_source(self, store: Twin) -> None:
        report = store.conditional_mset([("a", Document(page_content="a", metadata={"source": None}))])
        assert keys(report) == [("INS", "a", "")]

    def test_another_key_of_the_metadata_may_name_the_source(self, new_store: Callable[..., Twin]) -> None:
        store = new_store(source_key="file")
        assert keys(store.conditional_mset([("a", page("a", "no", file="yes"))])) == [("INS", "a", "yes")]

    def test_a_function_may_name_the_source(self, new_store: Callable[..., Twin]) -> None:
        store = new_store(source_key=lambda document: Path("folder", document.metadata["name"]))
        report = store.conditional_mset([("a", page("a", name="x.md"))])
        assert keys(report) == [("INS", "a", str(Path("folder", "x.md")))]

    @pytest.mark.parametrize("source", [5, ["a.md"], b"a.md", {"file": "a.md"}])
    def test_a_source_that_is_no_text_is_refused(self, store: Twin, source: Any) -> None:
        with pytest.raises(ArgumentTypeError, match=r"key 'a': metadata\['source'\] gives a .* as the source"):
            store.mset([("a", page("a", source))])

    def test_a_key_in_two_sources_is_two_documents(self, store: Twin) -> None:
        store.mset([("k", page("of a", "a.md"))])
        store.mset([("k", page("of b", "b.md"))])
        assert store.yield_keys() == ["k"]
        assert store.mget(["k"]) == [page("of b", "b.md")], "the one written last"
        assert keys(store.delete_source("b.md")) == [("DEL", "k", "b.md")]
        assert store.mget(["k"]) == [page("of a", "a.md")]

    def test_a_renamed_document_stays_in_its_old_source_until_that_is_synced_or_deleted(self, store: Twin) -> None:
        store.sync([("k", page("text", "old.md"))])
        report = store.sync([("k", page("text", "new.md"))])
        assert keys(report) == [("INS", "k", "new.md")]
        assert store.mget(["k"]) == [page("text", "new.md")]
        assert [source.source for source in store.sources()] == ["new.md", "old.md"]
        store.delete_source("old.md")
        assert store.mget(["k"]) == [page("text", "new.md")]

    def test_move_deletes_a_renamed_document_from_its_old_source(self, store: Twin) -> None:
        store.mset([("k", page("text", "old.md"))])
        report = store.conditional_mset([("k", page("text", "new.md"))], move=True)
        assert keys(report) == [("INS", "k", "new.md"), ("DEL", "k", "old.md")]

    def test_a_delete_by_key_deletes_in_all_sources(self, store: Twin) -> None:
        store.mset([("k", page("a", "a.md")), ("k", page("b", "b.md")), ("l", page("l", "a.md"))])
        store.mdelete(["k"])
        assert store.yield_keys() == ["l"]


class TestSync:
    def test_each_source_that_is_named_holds_exactly_its_documents(self, store: Twin) -> None:
        store.mset([("a1", page("1", "a")), ("a2", page("2", "a")), ("b1", page("3", "b")), ("c1", page("4", "c"))])
        report = store.sync([("a1", page("1", "a")), ("a3", page("new", "a")), ("b1", page("changed", "b"))])
        assert keys(report) == [("SKIP", "a1", "a"), ("INS", "a3", "a"), ("UPD", "b1", "b"), ("DEL", "a2", "a")]
        assert store.yield_keys() == ["a1", "a3", "b1", "c1"]

    def test_large_calls_report_counts_and_commit_in_parts(self, store: Twin) -> None:
        documents = [(f"k{number}", page("text", "a")) for number in range(9)]
        report = store.conditional_mset(documents, report="counts", chunked=True)
        assert report.counts == {"INS": 9, "UPD": 0, "SKIP": 0, "DEL": 0}
        report = store.sync(documents[:8], report="counts", chunked=True)
        assert report.counts == {"INS": 0, "UPD": 0, "SKIP": 8, "DEL": 1}
        assert [source.source for source in store.yield_sources("a")] == ["a"]
        assert store.delete_source("a", report="counts", chunked=True).counts["DEL"] == 8

    def test_source_argument_takes_all_documents(self, store: Twin) -> None:
        store.mset([("a", page("a", "s")), ("b", page("b", "t"))])
        report = store.sync([("x", page("x", "/a/long/path/of/s")), ("y", page("y"))], source="s")
        assert keys(report) == [("INS", "x", "s"), ("INS", "y", "s"), ("DEL", "a", "s")]

    def test_scope_collection_deletes_the_documents_of_other_sources(self, store: Twin) -> None:
        store.mset([("a", page("a", "s")), ("b", page("b", "t"))])
        report = store.sync([("a", page("a", "s"))], scope="collection")
        assert keys(report) == [("SKIP", "a", "s"), ("DEL", "b", "t")]

    def test_an_empty_list_without_a_source_does_nothing(self, store: Twin) -> None:
        store.mset([("a", page("a", "s"))])
        assert keys(store.sync([])) == []
        store.mset([])
        assert store.yield_keys() == ["a"]

    def test_emptying_a_source_needs_allow_mass_delete(self, store: Twin) -> None:
        store.mset([("a", page("a", "s"))])
        with pytest.raises(MassDeleteError, match="source 's'"):
            store.sync([], source="s")
        assert keys(store.sync([], source="s", allow_mass_delete=True)) == [("DEL", "a", "s")]

    def test_a_dry_run_writes_nothing(self, store: Twin) -> None:
        report = store.sync([("a", page("a", "s"))], dry_run=True)
        assert (report.dry_run, keys(report)) == (True, [("INS", "a", "s")])
        assert store.yield_keys() == []

    def test_notes_let_a_whole_file_be_skipped(self, store: Twin) -> None:
        store.sync([("a", page("a", "s"))], notes={"s": SourceNote("v1", {"pages": 1})})
        assert not store.of.shelf.source_changed("s", "v1")

    def test_pairs_may_be_a_generator_or_a_mapping_and_may_repeat_keys(self, store: Twin) -> None:
        store.mset((key, page(key)) for key in "ab")
        store.mset({"c": page("c")})
        store.mset([("d", page("first")), ("d", page("last"))])
        assert store.mget(key for key in "abcd") == [page("a"), page("b"), page("c"), page("last")]

    @pytest.mark.parametrize("pairs", ["ab", 5, [("a",)], ["ab"], None])
    def test_items_that_are_no_pairs_are_refused(self, store: Twin, pairs: Any) -> None:
        with pytest.raises(ArgumentTypeError, match="pair"):
            store.mset(pairs)


class TestRowsOfOthers:
    def spoil(self, place: Location, key: str) -> None:
        with connected(place) as connection:
            statement = text("UPDATE docshelf_entries SET content_type = 'evil' WHERE key = :key")
            connection.execute(statement, {"key": key})

    def test_an_unreadable_row_is_left_out_under_skip(self, place: Location, new_store: Callable[..., Twin]) -> None:
        documents = {f"k{number:02}": page(str(number)) for number in range(100)}
        store = new_store(on_corrupt="skip")
        store.mset(documents)
        self.spoil(place, "k42")
        with pytest.warns(CorruptEntryWarning, match="'k42'"):
            got = store.mget(list(documents))
        assert got == [None if key == "k42" else document for key, document in documents.items()]

    def test_an_unreadable_row_is_an_error_by_default(self, place: Location, store: Twin) -> None:
        store.mset({"a": page("a"), "b": page("b")})
        self.spoil(place, "b")
        with pytest.raises(CorruptEntryError, match=r"'b' .*do not match its hash"):
            store.mget(["a", "b"])

    def test_a_value_that_is_no_document_is_an_error_that_names_it(self, store: Twin) -> None:
        store.of.shelf.mset([Item("j", {"a": 1}, "s"), Item("b", b"x")])
        with pytest.raises(CorruptEntryError, match=r"'j' and source 's'.*a json value where a DocShelfStore reads"):
            store.mget(["j", "b"])

    def test_a_value_that_is_no_document_is_left_out_under_skip(self, new_store: Callable[..., Twin]) -> None:
        store = new_store(on_corrupt="skip")
        store.mset({"a": page("a")})
        store.of.shelf.set("b", b"x")
        with pytest.warns(CorruptEntryWarning, match="'b': a bytes value"):
            assert store.mget(["a", "b", "c"]) == [page("a"), None, None]

    def test_a_row_with_a_version_and_no_value_reads_as_none(self, store: Twin) -> None:
        store.of.shelf.set_versions({"k": "v"})
        assert store.mget(["k"]) == [None]


class TestShelf:
    def test_a_store_on_a_given_shelf_works_in_its_collection_and_leaves_it_open(self, place: Location) -> None:
        with DocShelf(place.url, "mine") as shelf:
            with DocShelfStore(shelf=shelf) as store:
                store.mset({"k": page("x")})
            assert shelf.count() == 1
            with DocShelfStore(shelf=shelf, collection="other") as other:
                assert other.mget(["k"]) == [None]

    def test_a_shelf_beside_a_url_or_options_is_refused(self, tmp_path: Path) -> None:
        with DocShelf(tmp_path / "x.db") as shelf:
            with pytest.raises(ConfigurationError, match="both shelf and url"):
                DocShelfStore("y.db", shelf=shelf)
            with pytest.raises(ConfigurationError, match="both shelf and hash_on"):
                DocShelfByteStore(shelf=shelf, hash_on="text")

    def test_a_store_on_a_shelf_may_skip_corrupt_entries_where_the_shelf_raises(self, tmp_path: Path) -> None:
        with DocShelf(tmp_path / "x.db") as shelf:
            shelf.set("j", 1)
            with pytest.warns(CorruptEntryWarning):
                assert DocShelfStore(shelf=shelf, on_corrupt="skip").mget(["j"]) == [None]

    def test_a_given_engine_is_used_and_not_closed(self, place: Location, new_engine: Any) -> None:
        engine = new_engine(place)
        with DocShelfStore(engine=engine) as store:
            store.mset({"k": page("x")})
        with DocShelfStore(engine=engine) as store:
            assert store.mget(["k"]) == [page("x")]

    @pytest.mark.parametrize(("hash_options", "op"), [({}, "UPD"), ({"hash_on": "text"}, "SKIP")])
    def test_hash_on_says_what_counts_as_change(
        self, new_store: Callable[..., Twin], hash_options: dict[str, Any], op: str
    ) -> None:
        store = new_store(**hash_options)
        store.mset({"k": page("x", mtime=1)})
        assert keys(store.conditional_mset({"k": page("x", mtime=2)})) == [(op, "k", "")]

    def test_excluded_metadata_does_not_count_as_change(self, new_store: Callable[..., Twin]) -> None:
        store = new_store(hash_exclude=("mtime",))
        store.mset({"k": page("x", mtime=1, n=1)})
        assert keys(store.conditional_mset({"k": page("x", mtime=2, n=1)})) == [("SKIP", "k", "")]
        assert keys(store.conditional_mset({"k": page("x", mtime=2, n=2)})) == [("UPD", "k", "")]
