"""The way to a vector store, on the real ones: what goes in comes out, and calls are as large as each of them takes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document

from docshelf import ConfigurationError, DocShelfError
from docshelf.adapters import Call
from langchain_docshelf.vector_access import Child, VectorAccess
from tests.adapters.langchain.vectors import FakeClock
from tests.stacks.stores import SIZE, Run, Stack


def child_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def children(count: int, start: int = 0) -> list[Document]:
    """Children of parents "p0", "p1", ..., five each, which all stores take."""
    return [
        Document(
            id=child_id(number),
            page_content=f"text {number}",
            metadata={"doc_id": f"p{number // 5}", "doc_source": "s", "n": number},
        )
        for number in range(start, start + count)
    ]


def ids_of(documents: list[Document]) -> list[str]:
    return [str(document.id) for document in documents]


def as_listed(documents: list[Document]) -> dict[Any, Child]:
    return {one.id: Child(str(one.id), one.page_content, one.metadata) for one in documents}


def listed(run: Run, access: VectorAccess, *args: Any) -> dict[Any, Child]:
    """All children of a list, each once."""
    cursor = access.list_children("doc_id", *args)
    found: list[Child] = []
    while page := run(cursor.next()):
        found += page
    by_id = {child.id: child for child in found}
    assert len(by_id) == len(found)
    return by_id


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many documents, ids or entries each call of a vector store had, by method."""
    seen: dict[str, list[int]] = {}
    run, arun = Call.run, Call.arun

    def note(call: Call, result: Any) -> Any:
        if call.method in ("add_documents", "held", "delete"):
            given = call.options.get("ids") or call.args[0]
            seen.setdefault(call.method, []).append(len(given))
        elif call.method == "page":
            seen.setdefault(call.method, []).append(len(result.children))
        return result

    async def noting_arun(call: Call) -> Any:
        return note(call, await arun(call))

    monkeypatch.setattr(Call, "run", lambda call: note(call, run(call)))
    monkeypatch.setattr(Call, "arun", noting_arun)
    return seen


def test_ten_thousand_children_go_in_and_out_in_chunks(stack: Stack, run: Run, sizes: dict[str, list[int]]) -> None:
    documents = children(10_000)
    access = VectorAccess(stack.open())
    run(access.check())
    assert run(access.add(documents)) == stack.embeddings.take() == 10_000
    assert run(access.held(ids_of(children(10_100)))) == set(ids_of(documents))
    assert run(access.verify(ids_of(documents))) is True
    assert access.can_list
    assert listed(run, access) == as_listed(documents)
    assert run(access.delete(ids_of(documents[:9_000]))) == 9_000
    assert run(access.delete(ids_of(documents[:9_500]))) == 500
    # As another process sees it.
    other = VectorAccess(stack.open())
    assert run(other.missing(ids_of(documents))) == ids_of(documents[:9_500])
    assert listed(run, other) == as_listed(documents[9_500:])
    assert sizes["add_documents"] == [250] * 40
    assert max(size for given in sizes.values() for size in given) == 250
    assert stack.embeddings.take() == 0


def test_children_of_some_parents_are_listed(stack: Stack, run: Run, sizes: dict[str, list[int]]) -> None:
    access = VectorAccess(stack.open(), batch_size=20)
    run(access.add(children(300)))
    stack.do(stack.open(), "add_documents", [Document(page_content="other", metadata={"n": 1})], ids=[child_id(999)])
    assert listed(run, access) == as_listed(children(300))
    assert listed(run, access, ["p3", "p7", "unknown"]) == as_listed(children(5, 15) + children(5, 35))
    assert listed(run, access, ["unknown"]) == {}
    assert listed(run, access, []) == {}
    assert listed(run, access, [f"p{number}" for number in range(30, 200)]) == as_listed(children(150, 150))
    assert max(sizes["page"]) <= 20


def test_children_may_be_deleted_while_they_are_listed(stack: Stack, run: Run) -> None:
    access = VectorAccess(stack.open(), batch_size=7)
    run(access.add(children(50)))
    cursor = access.list_children("doc_id")
    seen: list[Child] = []
    while page := run(cursor.next()):
        seen += page
        if stack.kind != "chroma":  # it pages by offset
            assert run(access.delete([child.id for child in page])) == len(page)
    assert {child.id: child for child in seen} == as_listed(children(50))
    assert len(listed(run, access)) == (50 if stack.kind == "chroma" else 0)


def test_a_store_that_is_empty_tells_in_one_call(stack: Stack, run: Run, sizes: dict[str, list[int]]) -> None:
    access = VectorAccess(stack.open(), batch_size=10)
    assert run(access.find_unknown("doc_id", [f"p{number}" for number in range(1000)])) == []
    assert sizes == {"page": [0]}
    run(access.add(children(60)))
    assert len(run(access.find_unknown("doc_id", ["p11", "x"]))) == 5
    assert listed(run, access, [f"p{number}" for number in range(1000)]) == as_listed(children(60))


def test_children_behind_many_that_are_none_are_found(stack: Stack, run: Run) -> None:
    store = stack.open()
    others = [Document(page_content="other", metadata={"n": 1}) for _ in range(30)]
    stack.do(store, "add_documents", others, ids=[str(uuid.UUID(int=number)) for number in range(30)])
    access = VectorAccess(store, batch_size=10)
    run(access.add(children(20)))
    parents = [f"p{number}" for number in range(100)]
    assert listed(run, access, parents) == listed(run, access) == as_listed(children(20))
    assert len(run(access.find_unknown("doc_id", parents))) > 0


def test_what_is_added_again_stands_once(stack: Stack, run: Run) -> None:
    access = VectorAccess(stack.open())
    documents = children(10)
    run(access.add(documents[:6]))
    stack.embeddings.take()
    assert run(access.add([*documents, *documents])) == stack.embeddings.take() == (4 if stack.kind == "faiss" else 10)
    assert run(access.add(documents)) == stack.embeddings.take() == (0 if stack.kind == "faiss" else 10)
    assert listed(run, access) == as_listed(documents)
    found = stack.do(stack.open(), "similarity_search", "text 8", k=10)
    assert sorted(one.page_content for one in found) == [one.page_content for one in documents]
    if stack.kind == "faiss":
        assert stack.open().index.ntotal == 10


def test_what_is_missing_is_no_error(stack: Stack, run: Run) -> None:
    access = VectorAccess(stack.open())
    run(access.add(children(3)))
    assert run(access.held([child_id(5)])) == set()
    assert run(access.delete([child_id(5), child_id(6)])) == 0
    assert run(access.delete([child_id(0), child_id(5)])) == 1
    run(access.delete([child_id(1), child_id(6)], sure=True))
    assert listed(run, access) == as_listed(children(1, 2))


def test_collections_of_one_place_do_not_mix(stack: Stack, run: Run) -> None:
    first, second = VectorAccess(stack.open("a")), VectorAccess(stack.open("b"))
    run(first.add(children(10)))
    run(second.add(children(10, 10)))
    run(second.delete(ids_of(children(20)), sure=stack.kind != "faiss"))
    assert listed(run, first) == as_listed(children(10))
    assert listed(run, second) == {}
    assert run(second.held(ids_of(children(20)))) == set()


def test_a_subclass_is_known_and_what_it_overrides_is_used(stack: Stack, run: Run) -> None:
    store = stack.open()
    run(VectorAccess(store).add(children(3)))

    class Mine(type(store)):  # type: ignore[misc]
        def get_by_ids(self, ids: Any, /) -> list[Document]:
            return []

        async def aget_by_ids(self, ids: Any, /) -> list[Document]:
            return []

    store.__class__ = Mine
    access = VectorAccess(store)
    assert listed(run, access) == as_listed(children(3))
    assert run(access.held(ids_of(children(3)))) == set()


def test_chroma_tells_the_most_that_it_takes(new_stack: Callable[[str], Stack], run: Run, sizes: Any) -> None:
    stack = new_stack("chroma")
    access = VectorAccess(stack.open(), batch_size=1_000_000)
    documents = children(6000)
    assert run(access.add(documents)) == 6000
    assert run(access.delete(ids_of(documents))) == 6000
    assert sizes["add_documents"] == sizes["delete"] == [5461, 539]


class TestPGVector:
    """Its collections share the ids of a database."""

    @pytest.fixture
    def stack(self, new_stack: Callable[[str], Stack]) -> Stack:
        return new_stack("pgvector")

    def test_children_that_another_collection_owns_are_found_missing(self, stack: Stack, run: Run) -> None:
        run(VectorAccess(stack.open("a")).add(children(100)))
        second = stack.open("b")
        stack.do(second, "add_documents", children(150), ids=ids_of(children(150)))
        clock = FakeClock()
        access = VectorAccess(second, clock=clock)
        with pytest.raises(
            DocShelfError, match=r"after 10 s.*: another collection of this database owns these ids. Give"
        ):
            run(access.verify(ids_of(children(150))))
        assert clock.time == pytest.approx(10)
        assert run(access.verify(ids_of(children(50, 100)))) is True
        assert run(access.missing(ids_of(children(150)))) == ids_of(children(100))

    def test_they_are_refused_before_they_are_overwritten_or_paid_for(self, stack: Stack, run: Run) -> None:
        first, second = VectorAccess(stack.open("a")), VectorAccess(stack.open("b"))
        run(first.add(children(100)))
        stack.embeddings.take()
        others = [Document(id=one.id, page_content="other", metadata={}) for one in children(40, 90)]
        with pytest.raises(
            DocShelfError, match=r"^10 of 40 children were not added: another collection .*`index` name"
        ):
            run(second.add(others))
        assert stack.embeddings.take() == 0
        assert listed(run, first) == as_listed(children(100))
        assert run(second.held(ids_of(children(200)))) == set()

    def test_a_store_made_for_the_other_half_is_refused(self, stack: Stack, run: Run, mode: str) -> None:
        stack.mode = "async" if mode == "sync" else "sync"
        store = stack.open()
        with pytest.raises(ConfigurationError, match=f"was made with async_mode={mode == 'sync'}; {mode} calls need"):
            run(VectorAccess(store).check())

    def test_a_collection_that_was_dropped_is_empty(self, stack: Stack, run: Run) -> None:
        store = stack.open()
        access = VectorAccess(store)
        run(access.add(children(3)))
        stack.do(store, "delete_collection")
        assert run(access.held(ids_of(children(3)))) == set()
        assert listed(run, access) == {}

    def test_a_row_without_metadata_or_text_is_no_child(self, stack: Stack, run: Run) -> None:
        store = stack.open()
        access = VectorAccess(store)
        run(access.add(children(2)))
        stack.do(store, "add_documents", [Document(page_content="")], ids=[child_id(7)])
        assert listed(run, access) == as_listed(children(2))


class TestPGVectorStore:
    @pytest.fixture
    def stack(self, new_stack: Callable[[str], Stack]) -> Stack:
        return new_stack("pgvectorstore")

    def test_metadata_in_columns_come_back(self, stack: Stack, run: Run) -> None:
        from langchain_postgres import Column, PGVectorStore

        columns = [Column("doc_id", "TEXT"), Column("n", "INTEGER")]
        stack.engine.init_vectorstore_table("t", SIZE, id_column=Column("key", "TEXT"), metadata_columns=columns)
        store = PGVectorStore.create_sync(
            stack.engine, stack.embeddings, "t", id_column="key", metadata_columns=["doc_id", "n"]
        )
        access = VectorAccess(store, batch_size=7)
        documents = children(30)
        documents[4].metadata.pop("n")
        run(access.add(documents))
        stack.do(store, "add_documents", [Document(page_content="other", metadata={"n": 5})], ids=["other"])
        assert listed(run, access) == as_listed(documents)
        assert listed(run, access, ["p2"]) == as_listed(documents[10:15])
        assert run(access.delete(ids_of(documents[:20]))) == 20
        assert listed(run, access) == as_listed(documents[20:])

    def test_a_table_without_metadata_has_no_children(self, stack: Stack, run: Run) -> None:
        from langchain_postgres import PGVectorStore

        stack.engine.init_vectorstore_table("t", SIZE, store_metadata=False)
        store = PGVectorStore.create_sync(stack.engine, stack.embeddings, "t")
        stack.do(store, "add_documents", children(3), ids=ids_of(children(3)))
        assert listed(run, VectorAccess(store)) == {}
        assert listed(run, VectorAccess(store), ["p0"]) == {}

    def test_numbers_may_be_ids(self, stack: Stack, run: Run) -> None:
        from langchain_postgres import Column, PGVectorStore

        stack.engine.init_vectorstore_table("t", SIZE, id_column=Column("n", "BIGINT"))
        store = PGVectorStore.create_sync(stack.engine, stack.embeddings, "t", id_column="n")
        stack.do(store, "add_documents", children(3), ids=[5, 6, 7])
        access = VectorAccess(store, batch_size=1)
        assert {child.id: child.text for child in listed(run, access).values()} == {
            5: "text 0",
            6: "text 1",
            7: "text 2",
        }
        assert run(access.held([5, 8])) == {5}
        assert run(access.delete([5, 6, 8])) == 2
        assert list(listed(run, access)) == [7]

    def test_an_engine_or_a_store_without_sync_calls_is_refused_for_them(
        self, stack: Stack, run: Run, mode: str
    ) -> None:
        from langchain_postgres import PGEngine, PGVectorStore
        from langchain_postgres.v2.async_vectorstore import AsyncPGVectorStore
        from sqlalchemy.ext.asyncio import create_async_engine

        stack.open()
        engine = create_async_engine(stack.url.set(drivername="postgresql+asyncpg"))
        loopless = PGEngine.from_engine(engine)
        try:
            for kind, reason in (
                (PGVectorStore, "an engine without an event loop of its own, so it takes async calls only"),
                (
                    AsyncPGVectorStore,
                    "an AsyncPGVectorStore takes async calls only; for sync calls use a PGVectorStore",
                ),
            ):
                access = VectorAccess(stack.loop.run(kind.create(loopless, stack.embeddings, "a")))
                if mode == "sync":
                    with pytest.raises(ConfigurationError, match=reason):
                        run(access.check(add=False, delete=False))
                else:
                    run(access.check())
                    run(access.add(children(30)))
                    assert listed(run, access) == as_listed(children(30))
                    assert run(access.delete(ids_of(children(30)))) == 30
        finally:
            stack.loop.run(engine.dispose())


class TestQdrant:
    @pytest.fixture
    def stack(self, new_stack: Callable[[str], Stack]) -> Stack:
        return new_stack("qdrant")

    def test_a_server_that_refuses_filters_without_an_index_is_listed_all_the_same(
        self, stack: Stack, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = stack.open()
        access = VectorAccess(store, batch_size=7)
        run(access.add(children(50)))
        scroll, refused = store.client.scroll, []

        def strict(collection: str, scroll_filter: Any = None, **options: Any) -> Any:
            if scroll_filter is not None:
                refused.append(scroll_filter)
                raise ValueError("Bad request: Index required but not found")
            return scroll(collection, **options)

        monkeypatch.setattr(store.client, "scroll", strict)
        assert listed(run, access, ["p1", "p9"]) == as_listed(children(5, 5) + children(5, 45))
        assert refused

    def test_keys_that_are_no_names_are_found(self, stack: Stack, run: Run) -> None:
        store = stack.open()
        documents = [Document(id=child_id(n), page_content="x", metadata={"doc.of": f"p{n}"}) for n in range(5)]
        run(VectorAccess(store).add(documents))
        cursor = VectorAccess(store).list_children("doc.of", ["p3"])
        assert [child.id for child in run(cursor.next())] == [child_id(3)]

    def test_numbers_and_bare_uuids_may_be_ids(self, stack: Stack, run: Run) -> None:
        store = stack.open()
        bare = uuid.uuid4().hex
        stack.do(store, "add_documents", children(3), ids=[5, 6, bare])
        access = VectorAccess(store, batch_size=2)
        assert set(listed(run, access)) == {5, 6, str(uuid.UUID(bare))}
        assert run(access.held([5, 7, bare])) == {5, bare}
        assert run(access.delete([5, 7, bare])) == 2
        assert set(listed(run, access)) == {6}


def test_documents_of_an_old_faiss_store_have_no_ids(new_stack: Callable[[str], Stack], run: Run) -> None:
    store = new_stack("faiss").open()
    access = VectorAccess(store)
    run(access.add(children(4)))
    for child, document in store.docstore._dict.items():
        store.docstore._dict[child] = Document(page_content=document.page_content, metadata=document.metadata)
    assert run(access.held(ids_of(children(5)))) == set(ids_of(children(4)))
    assert listed(run, access) == as_listed(children(4))
