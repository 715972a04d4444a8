"""Metadata that look like code, unreadable rows, and unusual ways to name sources and to pass documents."""

from __future__ import annotations

import datetime as dt
import enum
import math
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path, PureWindowsPath
from typing import Any
from uuid import UUID

import pytest
from langchain_core.documents import Document
from pydantic import Field
from sqlalchemy import text as sql

from docshelf import ArgumentTypeError, ArgumentValueError, CorruptEntryWarning, UnsupportedValueError
from langchain_docshelf import (
    DocShelfByteStore,
    DocShelfStore,
    ParentDocumentRetriever,
    PostgresByteStore,
    StoredDocument,
)
from tests.adapters.langchain.retrievers import numbers, sentences, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import Vectors
from tests.conftest import Location
from tests.support.tables import connected
from tests.support.values import shape


class Kind(enum.Enum):
    """An Enum of text."""

    GUIDE = "guide"


LOOKALIKES: list[Any] = [
    {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "document", "Document"], "kwargs": {}},
    {"lc": 1, "type": "secret", "id": ["PATH"]},
    {"lc": 2, "type": "not_implemented", "id": ["os", "system"], "repr": "x"},
    {"__class__": "os.system", "__reduce__": ["os.system", ["false"]], "class_name": "subprocess.Popen"},
    {"$set": [1], "$tuple": [], "$bytes": "AA==", "$": {"$": 1}},
    {"$type": "langchain/document", "value": {"page_content": "x"}},
]
TYPED: dict[Any, Any] = {
    "when": dt.datetime(2024, 3, 1, 12, 30, 0, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    "naive": dt.datetime(2024, 3, 1),
    "time": dt.time(23, 59, 59, 999_999),
    "length": dt.timedelta(days=-1, microseconds=1),
    "id": UUID(int=7),
    "price": Decimal("1.10"),
    "raw": b"\0\xff",
    "tags": {"a", 1, (2, "b")},
    "frozen": frozenset({dt.date(2024, 3, 1)}),
    "numbers": [math.nan, math.inf, -0.0, 2**70],
    "nested": {"pages": [{"loc": ({1: {UUID(int=1): None}},)}]},
}
HUNDRED = [f"k{number:02}" for number in range(100)]


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


@pytest.fixture
def retriever(store: Twin, vectors: Vectors) -> Twin:
    """A parent retriever on `store`."""
    return retriever_of(store, vectors)


def retriever_of(store: Twin, vectors: Vectors, **options: Any) -> Twin:
    given = {"vectorstore": vectors, "docstore": store.of, "child_splitter": sentences(), **options}
    return Twin(ParentDocumentRetriever(**given), store.mode, store.loop)


def sources_of(store: Twin) -> list[tuple[str, int]]:
    return [(source.source, source.entries) for source in store.sources()]


def changes(report: Any) -> list[tuple[str, str, str]]:
    return [(change.op, change.key, change.source) for change in report]


class TestLookalikes:
    def test_data_that_looks_like_code_is_data_in_every_value(self, spec_store: Twin) -> None:
        for data in LOOKALIKES:
            values = {"dict": data, "document": page("x", data=[data], **data), "list": [data]}
            spec_store.mset(list(values.items()))
            assert spec_store.mget(list(values)) == list(values.values())
            assert type(spec_store.get("dict")) is dict

    def test_data_that_looks_like_code_is_data_in_parents_and_children(self, retriever: Twin, vectors: Vectors) -> None:
        documents = [page(f"word{number}", "s", data=data, **data) for number, data in enumerate(LOOKALIKES)]
        retriever.sync(documents)
        for document in documents:
            assert retriever.invoke(document.page_content, k=1) == [document]
        children = dict(vectors.children.values())
        for document in documents:
            metadata = children[document.page_content]
            assert metadata == {**document.metadata, "doc_id": metadata["doc_id"], "doc_source": "s"}
        assert numbers(retriever.sync(documents)) == (0, 0, len(documents), 0, 0, len(documents), 0)

    def test_a_row_that_names_a_module_imports_nothing(self, place: Location, opened: Callable[[Any], Any]) -> None:
        named = type("this.Evil", (Document,), {"__module__": "this"})
        opened(DocShelfStore(place.url)).mset({"k": named(page_content="x", metadata=LOOKALIKES[0])})
        code = (
            "import sys; from langchain_docshelf import DocShelfStore; store = DocShelfStore(sys.argv[1]); "
            "found = store.mget(['k'])[0]; store.close(); "
            "print(type(found).__name__, found.class_name, 'this' in sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", code, place.url], capture_output=True, text=True, check=False)
        assert run.stdout.split() == ["StoredDocument", "this.Evil", "False"], run.stderr

    @pytest.mark.parametrize(
        "name", ["model_dump", "__class__", "__dict__", "_class_name", "model_config", "class_name"]
    )
    def test_a_field_with_a_name_that_python_uses_is_data(self, store: Twin, name: str) -> None:
        class Loose(Document, extra="allow"):
            pass

        document = Loose.model_validate({"page_content": "x", name: "os.system"})
        store.mset({"k": document})
        [found] = store.mget(["k"])
        assert (type(found), found.class_name) == (StoredDocument, "Loose")
        assert found.model_dump() == document.model_dump()
        assert found.model_extra == {name: "os.system"}


class TestTypes:
    def test_typed_metadata_come_back_from_every_store(self, store: Twin, spec_store: Twin, retriever: Twin) -> None:
        document = page("one", "s", **TYPED)
        store.mset({"k": document})
        spec_store.mset({"document": document, "dict": TYPED})
        retriever.sync([page("one", "parents", **TYPED)])
        found = [*store.mget(["k"]), spec_store.get("document"), *retriever.invoke("one")]
        assert [shape({**one.metadata, "source": ""}) for one in found] == [shape({**TYPED, "source": ""})] * 3
        assert shape(spec_store.get("dict")) == shape(TYPED)

    def test_typed_metadata_are_unchanged_when_they_are_read_and_written_again(self, store: Twin) -> None:
        store.mset({"k": page("one", "s", **TYPED)})
        assert changes(store.conditional_mset({"k": store.mget(["k"])[0]})) == [("SKIP", "k", "s")]

    def test_typed_metadata_reach_the_children_and_change_them(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page("one", "s", **TYPED)])
        [(_, metadata)] = vectors.children.values()
        assert shape({name: metadata[name] for name in TYPED}) == shape(TYPED)
        assert numbers(retriever.sync([page("one", "s", **TYPED)])) == (0, 0, 1, 0, 0, 1, 0)
        assert numbers(retriever.sync([page("one", "s", **{**TYPED, "time": dt.time(1)})])) == (0, 1, 0, 0, 1, 0, 1)

    def test_a_registered_class_with_aliases_comes_back(self, new_store: Callable[..., Twin]) -> None:
        class Numbered(Document):
            number: int = Field(alias="no")

        store = new_store(document_types=[Numbered])
        document = Numbered.model_validate({"page_content": "x", "no": 3})
        store.mset({"k": document})
        assert store.mget(["k"]) == [document]


class TestUnreadableRows:
    """One row of a hundred was tampered with; the rest is served."""

    @pytest.fixture(
        params=[
            "content_type = 'evil'",
            "encoding = 'pickle'",
            "value = substr(value, 2)",
            "value_hash = substr(value_hash, 2)",
        ]
    )
    def spoil(self, request: pytest.FixtureRequest, place: Location) -> Callable[[str], None]:
        def run(key: str) -> None:
            with connected(place) as connection:
                done = connection.execute(
                    sql(f"UPDATE docshelf_entries SET {request.param} WHERE key = :k"), {"k": key}
                )
                assert done.rowcount == 1

        return run

    @pytest.mark.parametrize("kind", [DocShelfStore, DocShelfByteStore, PostgresByteStore])
    def test_an_unreadable_row_of_any_store_is_left_out_under_skip(
        self,
        place: Location,
        opened: Callable[[Any], Any],
        twin: Callable[[Any], Twin],
        spoil: Callable[[str], None],
        kind: Any,
    ) -> None:
        values: dict[str, Any] = {key: page(key) if kind is DocShelfStore else key.encode() for key in HUNDRED}
        store = twin(opened(kind(place.url, "c", on_corrupt="skip")))
        store.mset(list(values.items()))
        spoil("k42")
        with pytest.warns(CorruptEntryWarning, match="'k42'"):
            got = store.mget(HUNDRED)
        assert got == [None if key == "k42" else values[key] for key in HUNDRED]

    def test_a_retriever_returns_the_parents_that_can_be_read(
        self, new_store: Callable[..., Twin], vectors: Vectors, spoil: Callable[[str], None]
    ) -> None:
        store = new_store(on_corrupt="skip")
        retriever = retriever_of(store, vectors, search_kwargs={"k": 100})
        retriever.sync([page(f"word {key}", "s") for key in HUNDRED], ids=HUNDRED)
        spoil("k42")
        with pytest.warns(CorruptEntryWarning, match="'k42'"):
            found = retriever.invoke("word")
        assert sorted(one.page_content for one in found) == [f"word {key}" for key in HUNDRED if key != "k42"]


class TestSources:
    """What the retriever and the stores make of the sources that documents name."""

    @pytest.mark.parametrize("metadata", [{}, {"source": None}, {"source": ""}])
    def test_documents_without_a_source_belong_to_the_empty_source(
        self, store: Twin, retriever: Twin, vectors: Vectors, metadata: dict[str, Any]
    ) -> None:
        retriever.sync([page(text("a"), "a.md")])
        retriever.sync([Document(page_content=text("none"), metadata=metadata), page(text("other"))])
        assert sources_of(store) == [("", 2), ("a.md", 1)]
        report = retriever.sync([Document(page_content=text("none"), metadata=metadata)])
        assert numbers(report) == (0, 0, 1, 1, 0, 3, 3)
        assert len(vectors.children) == 6
        assert numbers(retriever.delete_source("")) == (0, 0, 0, 1, 0, 0, 3)

    def test_source_none_means_no_source_argument(self, store: Twin) -> None:
        store.mset({"a": page("a", "a.md"), "b": page("b")})
        assert changes(store.sync([("c", page("c", "a.md"))], source=None)) == [
            ("INS", "c", "a.md"),
            ("DEL", "a", "a.md"),
        ]

    def test_a_path_is_stored_as_its_text_in_metadata_and_as_a_source(
        self, store: Twin, new_store: Callable[..., Twin]
    ) -> None:
        files = {"source": Path("docs", "a.md"), "others": [PureWindowsPath(r"c:\b.md")], "kind": Kind.GUIDE}
        written = store.conditional_mset({"k": Document(page_content="x", metadata=files)})
        assert changes(written) == [("INS", "k", "docs/a.md")]
        [read] = store.mget(["k"])
        assert read.metadata == {"source": "docs/a.md", "others": ["c:/b.md"], "kind": "guide"}
        named = new_store(source_key=lambda document: Path(document.metadata["file"]).with_suffix(".pdf"))
        assert changes(named.conditional_mset({"k": page("x", file="a.md")})) == [("INS", "k", "a.pdf")]

    @pytest.mark.parametrize(("given", "source"), [(None, ""), ("s", "s")])
    def test_a_source_function_may_return_none(self, new_store: Callable[..., Twin], given: Any, source: str) -> None:
        store = new_store(source_key=lambda document: given)
        assert changes(store.conditional_mset({"k": page("x", "not this")})) == [("INS", "k", source)]

    def test_a_source_function_that_returns_no_text_is_an_error(
        self, new_store: Callable[..., Twin], vectors: Vectors
    ) -> None:
        store = new_store(source_key=lambda document: 5)
        retriever = retriever_of(store, vectors)
        refusal = pytest.raises(ArgumentTypeError, match="source_key gives a int as the source")
        with refusal:
            store.mset({"k": page("x")})
        with refusal:
            retriever.sync([page("x")])
        assert (store.yield_keys(), vectors.children) == ([], {})

    @pytest.mark.parametrize("source", [5, b"a.md", ["a.md"], {"a.md"}])
    def test_a_source_of_a_retriever_that_is_no_text_is_refused(
        self, store: Twin, retriever: Twin, vectors: Vectors, source: Any
    ) -> None:
        with pytest.raises(ArgumentTypeError, match="as the source of the document"):
            retriever.sync([page(text("a"), "s"), page(text("b"), source)])
        with pytest.raises(ArgumentTypeError, match="source"):
            retriever.sync([page(text("a"))], source=source)
        assert (sources_of(store), vectors.children) == ([], {})

    @pytest.mark.parametrize("source", ["NUL \0", "lone \ud800", "x" * 1025])
    def test_a_source_that_cannot_be_stored_is_refused(
        self, store: Twin, retriever: Twin, vectors: Vectors, source: str
    ) -> None:
        with pytest.raises(ArgumentValueError, match="the source"):
            retriever.sync([page(text("a"), "s"), page(text("b"), source)])
        with pytest.raises(ArgumentValueError, match="the source"):
            store.mset({"a": page("a", "s"), "b": page("b", source)})
        assert (sources_of(store), vectors.children) == ([], {})

    def test_one_key_in_two_sources_may_come_in_one_call(self, store: Twin) -> None:
        pairs = [("k", page("of a", "a.md")), ("k", page("of b", "b.md"))]
        assert changes(store.sync(pairs)) == [("INS", "k", "a.md"), ("INS", "k", "b.md")]
        assert changes(store.sync(pairs)) == [("SKIP", "k", "a.md"), ("SKIP", "k", "b.md")]
        assert changes(store.sync([("k", page("new", "a.md"))])) == [("UPD", "k", "a.md")]
        assert store.mget(["k"]) == [page("new", "a.md")]

    def test_one_key_cannot_be_moved_to_two_sources(self, store: Twin) -> None:
        with pytest.raises(ArgumentValueError, match="a key lives in one source"):
            store.conditional_mset([("k", page("a", "a.md")), ("k", page("b", "b.md"))], move=True)
        assert store.yield_keys() == []

    def test_a_renamed_document_is_in_both_until_the_old_source_is_synced(
        self, store: Twin, retriever: Twin, vectors: Vectors
    ) -> None:
        retriever.sync([page(text("moved"), "old.md"), page(text("stays"), "old.md")])
        assert numbers(retriever.sync([page(text("moved"), "new.md")])) == (1, 0, 0, 0, 3, 0, 0)
        assert sources_of(store) == [("new.md", 1), ("old.md", 2)]
        assert numbers(retriever.sync([page(text("stays"), "old.md")])) == (0, 0, 1, 1, 0, 3, 3)
        assert retriever.invoke("moved part", k=1) == [page(text("moved"), "new.md")]
        assert len(vectors.children) == 6

    def test_delete_source_after_a_rename_leaves_only_the_new_source(
        self, store: Twin, retriever: Twin, vectors: Vectors
    ) -> None:
        for name in ("old.md", "new.md"):
            retriever.sync([Document(id="k", page_content=text("a"), metadata={"source": name})])
        assert numbers(retriever.delete_source("old.md")) == (0, 0, 0, 1, 0, 0, 3)
        assert sources_of(store) == [("new.md", 1)]
        assert {metadata["source"] for _, metadata in vectors.children.values()} == {"new.md"}
        assert [found.metadata["source"] for found in retriever.invoke("a part")] == ["new.md"]

    def test_a_value_that_moved_to_another_file_stays_in_the_old_one_until_that_is_synced(
        self, spec_store: Twin
    ) -> None:
        spec_store.conditional_mset([("k", 1), ("l", 2)], "old")
        assert spec_store.conditional_mset([("k", 1)], "new") == [("k", "INS")]
        assert spec_store.conditional_mset([("l", 2)], "old") == [("l", "SKIP"), ("k", "DEL")]
        assert spec_store.get("k") == 1
        assert spec_store.get("k", "old") is None

    @pytest.mark.parametrize("filename", [None, ""])
    def test_filename_none_means_no_file(self, spec_store: Twin, filename: str | None) -> None:
        assert spec_store.conditional_mset([("a", 1), ("b", 2, filename)], filename) == [("a", "INS"), ("b", "INS")]
        assert sources_of(spec_store) == [("", 2)]


class TestBatches:
    """Nothing, generators and mappings."""

    def test_a_generator_is_read_once_by_every_writer(self, store: Twin, spec_store: Twin, retriever: Twin) -> None:
        assert len(store.conditional_mset((key, page(key, "s")) for key in "ab")) == 2
        assert changes(store.sync((key, page(key, "s")) for key in "bc")) == [
            ("SKIP", "b", "s"),
            ("INS", "c", "s"),
            ("DEL", "a", "s"),
        ]
        store.mdelete(key for key in "b")
        assert store.mget(key for key in "bc") == [None, page("c", "s")]
        assert spec_store.conditional_mset((key, key, "f") for key in "ab") == [("a", "INS"), ("b", "INS")]
        assert numbers(retriever.sync(page(text(key), "r") for key in "ab"))[:5] == (2, 0, 0, 0, 6)
        assert numbers(retriever.add_documents(page(text(key), "r") for key in "bc"))[:5] == (1, 0, 1, 0, 3)

    def test_a_mapping_may_be_given_as_pairs(self, store: Twin, spec_store: Twin) -> None:
        assert changes(store.sync({"a": page("a")}, source="s")) == [("INS", "a", "s")]
        assert spec_store.conditional_mset({"a": 1}, "f") == [("a", "INS")]

    @pytest.mark.parametrize("empty", [list, dict, lambda: iter(())])
    def test_empty_input_does_nothing(
        self, store: Twin, byte_store: Twin, spec_store: Twin, retriever: Twin, empty: Callable[[], Any]
    ) -> None:
        store.mset({"a": page("a", "s")})
        for target in (store, byte_store, spec_store):
            target.mset(empty())
            target.mdelete([])
            assert target.mget([]) == []
        assert changes(store.conditional_mset(empty())) == changes(store.sync(empty())) == []
        assert spec_store.conditional_mset(empty()) == []
        assert numbers(retriever.sync(empty())) == numbers(retriever.add_documents(empty())) == (0,) * 7
        assert store.yield_keys() == ["a"]

    def test_emptying_an_empty_source_needs_no_permission(self, store: Twin, retriever: Twin) -> None:
        store.mset({"a": page("a", "s")})
        assert changes(store.sync([], source="none")) == []
        assert numbers(retriever.sync([], source="none")) == (0,) * 7
        assert numbers(retriever.delete_source("none")) == (0,) * 7
        assert store.yield_keys() == ["a"]

    @pytest.mark.parametrize("documents", [None, 5])
    def test_a_retriever_refuses_documents_that_are_no_iterable(self, retriever: Twin, documents: Any) -> None:
        for write in (retriever.sync, retriever.add_documents):
            with pytest.raises(ArgumentTypeError, match="an iterable of documents"):
                write(documents)

    def test_ids_may_be_a_generator_but_must_be_unique(self, store: Twin, retriever: Twin) -> None:
        pages = [page("one", "s"), page("two", "s")]
        retriever.sync(pages, ids=(name for name in "ab"))
        assert store.yield_keys() == ["a", "b"]
        with pytest.raises(ArgumentValueError, match="two parent documents of source 's' have the id 'a'"):
            retriever.sync(pages, ids=["a", "a"])

    def test_a_type_that_is_no_text_is_refused(self, store: Twin) -> None:
        class Untyped(Document):
            type: Any = None

        with pytest.raises(UnsupportedValueError, match="cannot store a NoneType as a document's type"):
            store.mset([("k", Untyped(page_content="x"))])
        assert store.yield_keys() == []

    @pytest.mark.parametrize("documents", ["text", {"k": page("x")}, [("k", page("x"))], [None], page("x")])
    def test_a_retriever_refuses_items_that_are_no_documents(
        self, store: Twin, retriever: Twin, documents: Any
    ) -> None:
        for write in (retriever.sync, retriever.add_documents):
            with pytest.raises(ArgumentTypeError, match=r"give (a Document|an iterable of documents)"):
                write(documents)
        assert store.yield_keys() == []


class TestHashing:
    """What counts as change in documents says nothing about the retriever's own records."""

    @pytest.mark.parametrize(
        "options",
        [
            {"hash_on": lambda document: document.page_content},
            {"hash_on": "text"},
            {"hash_exclude": ("mtime", "parent", "children")},
        ],
        ids=["function", "text", "exclude"],
    )
    def test_hash_options_decide_what_a_retriever_embeds(
        self, new_store: Callable[..., Twin], vectors: Vectors, options: dict[str, Any]
    ) -> None:
        retriever = retriever_of(new_store(**options), vectors)
        assert numbers(retriever.sync([page(text("a"), "s", mtime=1)])) == (1, 0, 0, 0, 3, 0, 0)
        assert numbers(retriever.sync([page(text("a"), "s", mtime=2)])) == (0, 0, 1, 0, 0, 3, 0)
        assert numbers(retriever.sync([page(text("b", 2), "s", mtime=2)])) == (1, 0, 0, 1, 2, 0, 3)
        assert numbers(retriever.delete_source("s")) == (0, 0, 0, 1, 0, 0, 2)
        assert vectors.children == {}
