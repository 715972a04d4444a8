"""Coming from LangChain's own stores: everything arrives once, in order, and nothing of old data is executed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import pickle
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_classic.storage import EncoderBackedStore, LocalFileStore, create_kv_docstore, create_lc_store
from langchain_core.documents import Document
from langchain_core.stores import BaseStore, InMemoryByteStore, InMemoryStore
from sqlalchemy import Engine

import docshelf
from docshelf import ArgumentTypeError, ConfigurationError, DocShelf, DocShelfError, MoveError, UnknownDocument
from docshelf.moving import MoveReport, Source, amigrate, migrate
from langchain_docshelf import DocShelfByteStore, DocShelfStore, PostgresByteStore, StoredDocument
from langchain_docshelf.moving import from_byte_store_table, from_folder, from_sql_store, from_store
from tests.adapters.langchain.twins import Twin
from tests.conftest import Location
from tests.support.old_byte_store import OldPostgresByteStore

PAGES = {
    f"k{n}": Document(id=f"k{n}", page_content=f"text {n}", metadata={"source": f"{n % 2}.md", "n": n, "nan": 1.5})
    for n in (3, 1, 2, 0, 4)
}
Move = Callable[..., MoveReport]


@pytest.fixture
def move(mode: str) -> Move:
    """`migrate`, sync and async."""
    if mode == "sync":
        return migrate
    return lambda *args, **options: asyncio.run(amigrate(*args, **options))


def in_order(store: Any) -> list[str]:
    entries = [entry for entries in store.shelf.source_entries(["", "0.md", "1.md", "f.md"]) for entry in entries]
    return [entry.key for entry in sorted(entries, key=lambda entry: entry.seq)]


def filled_folder(path: Path) -> LocalFileStore:
    """A folder of documents, each file a second newer than the one before."""
    files = LocalFileStore(path)
    create_kv_docstore(files).mset(list(PAGES.items()))
    for number, key in enumerate(PAGES):
        os.utime(path / key, (number, 1_000 + number))
    return files


class OnlyKeys(BaseStore[str, Any]):
    """A store of a third party: sync and async methods of its own, values of any kind."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def mget(self, keys: Sequence[str]) -> list[Any]:
        return [self.values.get(key) for key in keys]

    async def amget(self, keys: Sequence[str]) -> list[Any]:
        return self.mget(keys)

    def mset(self, key_value_pairs: Any) -> None:
        raise AssertionError("a source is only read")

    def mdelete(self, keys: Any) -> None:
        raise AssertionError("a source is only read")

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        yield from self.values

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        for key in self.values:
            yield key


def in_memory(path: Path) -> InMemoryStore:
    store = InMemoryStore()
    store.mset(list(PAGES.items()))
    return store


def encoded_in_memory(path: Path) -> Any:
    store = create_kv_docstore(InMemoryByteStore())
    store.mset(list(PAGES.items()))
    return store


def pickled(path: Path) -> Any:
    store: Any = EncoderBackedStore(InMemoryByteStore(), lambda key: key, pickle.dumps, pickle.loads)
    store.mset(list(PAGES.items()))
    return store


ORIGINS: dict[str, Callable[[Path], Any]] = {
    "LocalFileStore": filled_folder,
    "create_kv_docstore(LocalFileStore)": lambda path: create_kv_docstore(filled_folder(path)),
    "a folder": lambda path: str(filled_folder(path).root_path),
    "a Path": lambda path: filled_folder(path).root_path,
    "InMemoryStore": in_memory,
    "create_kv_docstore(InMemoryByteStore)": encoded_in_memory,
    "create_lc_store": lambda path: create_lc_store(filled_folder(path)),
    "EncoderBackedStore(pickle)": pickled,
    "a store of a third party": lambda path: OnlyKeys(PAGES),
}


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
class TestDocuments:
    def test_every_document_arrives_in_order_and_is_skipped_again(
        self, new_store: Callable[..., Twin], move: Move, tmp_path: Path, origin: Callable[[Path], Any]
    ) -> None:
        source, store = origin(tmp_path / "old"), new_store()
        planned = move(source, store.of, dry_run=True)
        assert (planned.counts["INS"], store.of.shelf.count()) == (5, 0)
        report = move(source, store.of)
        assert (report.counts, report.compared) == ({"INS": 5, "UPD": 0, "SKIP": 0, "DEL": 0}, True)
        assert dict(zip(PAGES, store.mget(list(PAGES)), strict=True)) == PAGES
        assert in_order(store.of) == list(PAGES)
        assert [(one.source, one.entries) for one in store.sources()] == [("0.md", 3), ("1.md", 2)]
        assert move(source, store.of).counts["SKIP"] == 5
        store.mset(list(PAGES.items()))
        assert move(source, store.of).counts["SKIP"] == 5

    def test_a_plain_shelf_gets_documents_of_no_framework(
        self, place: Location, move: Move, tmp_path: Path, origin: Callable[[Path], Any]
    ) -> None:
        source = origin(tmp_path / "old")
        with DocShelf(place.url) as shelf:
            make = from_folder if isinstance(source, str | Path) else from_store
            move(make(source), shelf)
            assert dict(shelf.yield_items()) == {
                key: docshelf.Document(page.page_content, page.metadata, page.id) for key, page in PAGES.items()
            }
            assert shelf.verify() == []
            if move is not migrate:
                asyncio.run(shelf.aclose())


class Chapter(Document):
    number: int = 0

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True


class TestWhatDocumentsHold:
    def test_subclasses_keep_what_they_add(self, new_store: Callable[..., Twin], move: Move) -> None:
        old = create_lc_store(InMemoryByteStore())
        old.mset([("k", Chapter(page_content="t", metadata={"source": "f.md"}, number=7))])
        memory = InMemoryStore()
        memory.mset([("m", Chapter(page_content="t", number=8))])
        store = new_store()
        move(old, store.of)
        move(memory, store.of)
        found, kept = store.mget(["k", "m"])
        assert type(found) is StoredDocument
        assert (found.class_name, found.model_extra, found.page_content) == ("Chapter", {"number": 7}, "t")
        assert kept.model_extra == {"number": 8}
        assert [(one.source, one.entries) for one in store.sources()] == [("", 1), ("f.md", 1)]

    def test_metadata_come_as_they_were(self, new_store: Callable[..., Twin], move: Move) -> None:
        metadata = {"lc": 1, "type": "constructor", "nested": {"lc": 1, "id": ["x"]}, "list": [{"a": None}], "n": 1e300}
        old = create_kv_docstore(InMemoryByteStore())
        old.mset([("k", Document(page_content="\ud800 \0", metadata={"m": metadata}))])
        store = new_store()
        move(old, store.of)
        [found] = store.mget(["k"])
        assert (found.page_content, found.metadata) == ("\ud800 \0", {"m": metadata})

    def test_plain_texts_become_documents(self, new_store: Callable[..., Twin], move: Move) -> None:
        store = new_store()
        move(OnlyKeys({"a": "text", "b": {"text": "t", "metadata": {"source": "f.md"}}}), store.of)
        assert [page.page_content for page in store.mget(["a", "b"])] == ["text", "t"]

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            (b"not JSON", "neither JSON nor a pickle"),
            (b'{"lc": 1, "type": "constructor", "id": ["langchain", "llms", "OpenAI"], "kwargs": {}}', "no document"),
            (b'{"a": 1}', "a dict where a document belongs"),
            (b"[" * 100_000, "neither JSON nor a pickle"),
            (b"\x80\x04\x95", "a broken pickle"),
            (pickle.dumps(os.getcwd), "posix.getcwd is not among what is read of a pickle"),
            (7, "a int where a document belongs"),
            (
                json.dumps(
                    {
                        **{"lc": 1, "type": "constructor", "id": ["langchain", "schema", "document", "Document"]},
                        "kwargs": {
                            "page_content": "t",
                            "metadata": {
                                "when": {
                                    "lc": 1,
                                    "type": "not_implemented",
                                    "id": ["datetime"],
                                    "repr": "datetime(2024)",
                                }
                            },
                        },
                    }
                ).encode(),
                r"metadata\.when holds no value but what LangChain wrote of an object \(datetime\(2024\)\)",
            ),
            (
                b'{"lc":1,"type":"constructor","id":["langchain","schema","document","Document"],'
                b'"kwargs":{"page_content":1,"metadata":{}}}',
                "a document whose text, metadata or id is of another type",
            ),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_what_is_no_document_is_refused_by_name(
        self, new_store: Callable[..., Twin], move: Move, value: Any, told: str
    ) -> None:
        store = new_store()
        origin = OnlyKeys({"a": PAGES["k1"], "bad": value, "z": PAGES["k2"]})
        with pytest.raises(MoveError, match=told):
            move(origin, store.of)
        assert store.of.shelf.count() == 0
        report = move(origin, store.of, on_refused="skip")
        assert (report.refused, report.counts["INS"], report.problems[0].key) == (1, 2, "bad")

    def test_a_source_that_is_no_text_is_refused_by_name(self, new_store: Callable[..., Twin], move: Move) -> None:
        store = new_store()
        with pytest.raises(MoveError, match="gives a int as the source of the document"):
            move(OnlyKeys({"k": Document(page_content="t", metadata={"source": 7})}), store.of)
        with pytest.raises(MoveError, match="cannot store a object"):
            move(OnlyKeys({"k": Document(page_content="t", metadata={"x": object()})}), store.of)


class TestEncodedKeys:
    @pytest.fixture
    def hashed(self) -> Any:
        store = create_kv_docstore(InMemoryByteStore(), key_encoder=lambda key: f"{hash(key)}")
        store.mset(list(PAGES.items()))
        return store

    def test_keys_that_the_store_hides_are_asked_for(
        self, new_store: Callable[..., Twin], move: Move, hashed: Any, tmp_path: Path
    ) -> None:
        store = new_store()
        folder = create_kv_docstore(LocalFileStore(tmp_path / "old"), key_encoder=lambda key: key * 2)
        folder.mset(list(PAGES.items()))
        for origin in (hashed, folder):
            with pytest.raises(ConfigurationError, match="the store encodes its keys"):
                move(origin, store.of)
            store.mdelete(list(PAGES))
            report = move(from_store(origin, keys=[*PAGES, "missing"]), store.of)
            assert report.counts["INS"] == 5
            assert dict(zip(PAGES, store.mget(list(PAGES)), strict=True)) == PAGES

    def test_a_deserializer_of_the_users_own_is_called_and_its_errors_are_refusals(
        self, new_store: Callable[..., Twin], move: Move
    ) -> None:
        own: Any = EncoderBackedStore(
            InMemoryByteStore(),
            lambda key: key,
            lambda page: page.page_content.encode(),
            lambda data: Document(page_content=data.decode("ascii")),
        )
        own.mset([("a", Document(page_content="text")), ("b", Document(page_content="ä"))])
        store = new_store()
        report = move(own, store.of, on_refused="skip")
        assert store.mget(["a"])[0].page_content == "text"
        assert "value_deserializer: UnicodeDecodeError" in report.problems[0].reason


class TestBytes:
    def test_bytes_arrive_as_they_are_under_any_key(
        self, place: Location, opened: Callable[[Any], Any], move: Move, tmp_path: Path
    ) -> None:
        store = opened(DocShelfByteStore(place.url))
        old = InMemoryByteStore()
        values = {"k": b"\0\xff", "x" * 2_000: b"long key", "": b"empty"}
        old.mset(list(values.items()))
        assert move(old, store).counts["INS"] == 3
        assert dict(zip(values, store.mget(list(values)), strict=True)) == values
        assert sorted(store.yield_keys()) == sorted(values)
        assert move(old, store).counts["SKIP"] == 3
        files = LocalFileStore(tmp_path / "old")
        files.mset([("namespace/deep", b"v")])
        assert move(str(tmp_path / "old"), store).counts["INS"] == 1
        assert store.mget(["namespace/deep"]) == [b"v"]

    def test_what_is_no_bytes_is_refused(self, place: Location, opened: Callable[[Any], Any], move: Move) -> None:
        with pytest.raises(MoveError, match="a Document where bytes belong"):
            move(in_memory(Path()), opened(DocShelfByteStore(place.url)))


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


class TestTheTableOfPickles:
    VALUES: ClassVar[dict[str, Any]] = {
        "dict": {"b": 1, "a": [{"z": 1, "y": (1, 2)}], "when": dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc)},
        "text": "text",
        "bytes": b"\0\xff",
        "number": 2**70,
        "none": None,
        "document": PAGES["k1"],
    }

    @pytest.fixture
    def old(self, place: Location, new_engine: Callable[..., Engine]) -> OldPostgresByteStore:
        old = OldPostgresByteStore(new_engine(place), "docs")
        old.mset(list(self.VALUES.items()), "f.md")
        old.mset([("text", "in another file")], "g.md")
        return old

    def test_every_value_arrives_in_its_file(
        self, place: Location, opened: Callable[[Any], Any], move: Move, old: OldPostgresByteStore
    ) -> None:
        store = opened(PostgresByteStore(place.url, "moved"))
        assert move(place.url, store, dry_run=True).counts["INS"] == 7
        report = move(place.url, store)
        assert (report.counts["INS"], report.compared) == (7, True)
        for key, value in self.VALUES.items():
            assert store.get(key, "f.md") == value
        assert store.get("text", "g.md") == "in another file"
        assert store.conditional_mset(self.VALUES, "f.md") == [(key, "SKIP") for key in self.VALUES]
        assert store.shelf.verify() == []

    def test_a_store_of_documents_takes_the_documents(
        self, place: Location, opened: Callable[[Any], Any], move: Move, old: OldPostgresByteStore
    ) -> None:
        old.collection_name = "pages"
        old.mset(list(PAGES.items()), "f.md")
        store = opened(DocShelfStore(place.url))
        with pytest.raises(ConfigurationError, match="several sources in this database: 'docs' of bytestore, 'pages'"):
            move(place.url, store)
        move(place.url, store, collection="pages")
        assert dict(zip(PAGES, store.mget(list(PAGES)), strict=True)) == PAGES
        with pytest.raises(MoveError, match="neither JSON nor a pickle"):
            move(from_byte_store_table(place.url, "docs", kind="documents"), store)

    def test_a_hostile_value_is_refused_by_name_and_nothing_runs(
        self, place: Location, opened: Callable[[Any], Any], move: Move, old: OldPostgresByteStore, tmp_path: Path
    ) -> None:
        old.mset_raw(
            [("evil", pickle.dumps({"a": Runs(tmp_path / "executed")})), ("cut", pickle.dumps("x" * 99)[:40])], "h.md"
        )
        store = opened(PostgresByteStore(place.url, "moved"))
        with pytest.raises(MoveError, match="cannot be stored") as caught:
            move(place.url, store)
        assert {problem.key for problem in caught.value.problems} == {"evil", "cut"}
        report = move(place.url, store, on_refused="skip")
        assert {problem.reason.partition(" ")[0] for problem in report.problems} == {"posix.system", "a"}
        assert (report.counts["INS"], report.refused) == (7, 2)
        assert not (tmp_path / "executed").exists()
        assert store.get("evil") is None

    def test_a_plain_shelf_takes_them_too(self, place: Location, move: Move, old: OldPostgresByteStore) -> None:
        with DocShelf(place.url, "plain") as shelf:
            assert move(from_byte_store_table(place.url, "docs"), shelf).counts["INS"] == 7
            assert shelf.get("document") == docshelf.Document("text 1", PAGES["k1"].metadata, "k1")
            assert shelf.get("dict", source="f.md") == self.VALUES["dict"]
            if move is not migrate:
                asyncio.run(shelf.aclose())

    def test_the_table_is_only_read(
        self, new_location: Callable[[str], Location], new_engine: Callable[..., Engine], move: Move, tmp_path: Path
    ) -> None:
        place = new_location("sqlite")
        OldPostgresByteStore(new_engine(place), "docs").mset([("k", 1)], "f")
        before = Path(place.url).read_bytes()
        Path(place.url).chmod(0o444)
        with DocShelf(tmp_path / "new.db") as shelf:
            move(from_byte_store_table(place.url, "docs"), shelf)
            assert shelf.get("k") == 1
        assert Path(place.url).read_bytes() == before


class TestWhatIsNoSource:
    def test_it_is_told(self, new_store: Callable[..., Twin], move: Move, tmp_path: Path) -> None:
        store = new_store()
        with pytest.raises(ArgumentTypeError, match="a dict is no store of LangChain"):
            from_store({})
        with pytest.raises(ConfigurationError, match="there is no folder"):
            from_folder(tmp_path / "no")
        with pytest.raises(ConfigurationError, match="there is no file"):
            move(tmp_path / "no.db", store.of)
        sqlite3.connect(tmp_path / "other.db").close()
        with pytest.raises(ConfigurationError, match="there are no tables of docshelf"):
            move(tmp_path / "other.db", store.of)
        with pytest.raises(ConfigurationError, match="there is no table 'langchain_key_value_stores'"):
            move(from_sql_store(tmp_path / "other.db", "n"), store.of)
        with pytest.raises(ConfigurationError, match="a list is no source that this target knows"):
            move([], store.of)

    def test_a_file_that_cannot_be_read_is_named(
        self, new_store: Callable[..., Twin], move: Move, tmp_path: Path
    ) -> None:
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "k").symlink_to(tmp_path / "gone")
        with pytest.raises(DocShelfError, match=r"the file '.*k' cannot be read: No such file"):
            move(tmp_path / "old", new_store().of)


def test_a_document_store_takes_no_other_documents(new_store: Callable[..., Twin], place: Location, move: Move) -> None:
    class Nodes(Source):
        def read(self, take: Any) -> Any:
            yield from take([docshelf.Item("k", UnknownDocument("llama-index/node", {}))])

    with pytest.raises(MoveError, match="the value is a UnknownDocument; give a Document"):
        move(Nodes(), new_store().of)
