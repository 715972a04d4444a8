"""The one way to a vector store: bounded calls, refusals before a write, looks for what was added, lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from docshelf import ArgumentTypeError, ArgumentValueError, ConfigurationError, DocShelfError
from docshelf.adapters import Flow, aperform, perform
from langchain_docshelf.vector_access import DEFAULT_BATCH_SIZE, Child, VectorAccess
from tests.adapters.langchain.vectors import (
    AsyncVectors,
    BlindVectors,
    FakeClock,
    LateVectors,
    RefusingVectors,
    StrictVectors,
    TooLargeError,
    Vectors,
)
from tests.support.face import Loop

T = TypeVar("T")
Run = Callable[[Flow[Any]], Any]


@pytest.fixture
def run(mode: str, loop: Loop) -> Run:
    """Performs a flow to its end, in sync or in async."""
    return perform if mode == "sync" else lambda flow: loop.run(aperform(flow))


def children(count: int, start: int = 0) -> list[Document]:
    """Children of parents "p0", "p1", ..., three each."""
    return [
        Document(id=f"c{number}", page_content=f"text {number}", metadata={"doc_id": f"p{number // 3}", "n": number})
        for number in range(start, start + count)
    ]


def ids_of(documents: Sequence[Document]) -> list[str]:
    return [str(document.id) for document in documents]


def listed(run: Run, access: VectorAccess, *args: Any) -> list[list[Child]]:
    """All pages of a list."""
    cursor = access.list_children("doc_id", *args)
    pages = []
    while page := run(cursor.next()):
        pages.append(page)
    assert run(cursor.next()) == []
    return pages


class TestChunks:
    def test_no_call_is_larger_than_a_batch(self, run: Run) -> None:
        store = RefusingVectors(most=100)
        access = VectorAccess(store, batch_size=100)
        documents = children(250)
        assert run(access.add(documents)) == 250
        assert run(access.held(ids_of(documents))) == set(ids_of(documents))
        assert run(access.verify(ids_of(documents))) is True
        assert run(access.delete(ids_of(documents))) == 250
        assert store.children == {}
        sizes = {method: [count for name, count in store.calls if name == method] for method, _ in store.calls}
        assert sizes["add_documents"] == [100, 100, 50]
        assert sizes["delete"] == [100, 100, 50]
        assert sizes["get_by_ids"] == [100, 100, 50, 16, 100, 100, 50]

    def test_what_common_stores_take_is_the_default(self, run: Run) -> None:
        store = RefusingVectors(most=DEFAULT_BATCH_SIZE)
        assert run(VectorAccess(store).add(children(600))) == 600
        assert [count for _, count in store.calls] == [250, 250, 100]

    def test_a_store_that_tells_its_limit_is_heard(self, run: Run) -> None:
        store = RefusingVectors(most=40)
        store.max_batch_size = 40  # type: ignore[attr-defined]
        assert run(VectorAccess(store).add(children(90))) == 90
        assert run(VectorAccess(store, batch_size=30).delete(ids_of(children(90)), sure=True)) == 90
        assert [count for _, count in store.calls] == [40, 40, 10, 30, 30, 30]

    def test_chunks_that_are_through_stay(self, run: Run) -> None:
        store = RefusingVectors(most=20)
        access = VectorAccess(store, batch_size=20)
        chunks = run(access.chunks(children(50)))
        assert [len(chunk) for chunk in chunks] == [20, 20, 10]
        for chunk in chunks[:2]:
            run(access.add(chunk))
        store.most = 5
        with pytest.raises(TooLargeError):
            run(access.add(chunks[2]))
        assert list(store.children) == ids_of(children(40))

    def test_what_a_store_raises_in_a_later_chunk_leaves_the_earlier_ones_in(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = Vectors()
        embed, made = store.counting.embed_documents, []

        def embed_twice(texts: list[str]) -> list[list[float]]:
            made.append(len(texts))
            if len(made) == 3:
                raise ConnectionError("the model is gone")
            return embed(texts)

        monkeypatch.setattr(store.counting, "embed_documents", embed_twice)
        with pytest.raises(ConnectionError, match="the model is gone"):
            run(VectorAccess(store, batch_size=10).add(children(35)))
        assert list(store.children) == ids_of(children(20))

    def test_an_id_that_is_given_twice_goes_once(self, run: Run) -> None:
        store = StrictVectors()
        access = VectorAccess(store, batch_size=2)
        assert run(access.add([*children(3), *children(2)])) == 3
        assert run(access.delete(["c0", "c1", "c0"], sure=True)) == 2
        strict = RefusingVectors(most=2)
        access = VectorAccess(strict)
        run(access.add(children(2)))
        assert run(access.held(["c0", "c0", "c0", "x", "x"])) == {"c0"}
        assert run(access.missing(["c0", "c0", "x", "x"])) == ["x"]

    def test_nothing_is_no_call(self, run: Run) -> None:
        store = RefusingVectors(most=0)
        access = VectorAccess(store)
        assert run(access.add([])) == 0
        assert run(access.held([])) == set()
        assert run(access.missing([])) == []
        assert run(access.delete([])) == 0
        assert run(access.verify([])) is True
        assert store.calls == []

    def test_a_child_without_an_id_is_refused(self, run: Run) -> None:
        with pytest.raises(ArgumentValueError, match="a child has no id"):
            run(VectorAccess(Vectors()).add([Document(page_content="text")]))


class TestDelete:
    def test_only_what_a_store_showed_is_counted(self, run: Run) -> None:
        access = VectorAccess(Vectors())
        run(access.add(children(3)))
        assert run(access.delete(["c1", "c2", "missing"])) == 2
        assert run(access.delete(["c0", "missing"], sure=True)) == 2, "nobody asked"

    def test_ids_that_a_store_refuses_as_missing_are_left_out(self, run: Run) -> None:
        for sure in (False, True):
            access = VectorAccess(StrictVectors())
            run(access.add(children(3)))
            assert run(access.delete(["c1", "missing", "c2"], sure=sure)) == 2
            assert run(access.held(["c0", "c1", "c2"])) == {"c0"}

    def test_what_a_late_store_does_not_show_yet_is_deleted_too(self, run: Run) -> None:
        store = LateVectors()
        access = VectorAccess(store)
        run(access.add(children(4)))
        assert run(access.delete(["c0", "c1"])) == 0
        assert list(store.children) == ["c2", "c3"]

    def test_a_store_that_does_not_tell_what_it_holds_deletes_all(self, run: Run) -> None:
        store = BlindVectors()
        access = VectorAccess(store)
        run(access.add(children(3)))
        assert run(access.delete(["c1", "c2"])) == 2
        assert list(store.children) == ["c0"]

    @pytest.fixture
    def answering(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], bool]], list[Any]]:
        """Makes `delete` answer as a function does; the ids of its calls."""

        def make(answer: Callable[[], bool]) -> list[Any]:
            calls: list[Any] = []

            def delete(self: Vectors, ids: list[str], **kwargs: Any) -> bool:
                calls.append(ids)
                return answer()

            async def adelete(self: Vectors, ids: list[str], **kwargs: Any) -> bool:
                return delete(self, ids)

            monkeypatch.setattr(Vectors, "delete", delete)
            monkeypatch.setattr(Vectors, "adelete", adelete)
            return calls

        return make

    def test_an_error_that_is_not_about_missing_ids_is_raised(self, run: Run, answering: Any) -> None:
        def fail() -> bool:
            raise ConnectionError("gone")

        access = VectorAccess(Vectors())
        run(access.add(children(2)))
        calls = answering(fail)
        with pytest.raises(ConnectionError, match="gone"):
            run(access.delete(["c0", "c1"]))
        assert calls == [["c0", "c1"]]

    def test_a_store_that_says_it_did_not_is_told(self, run: Run, answering: Any) -> None:
        access = VectorAccess(Vectors())
        run(access.add(children(2)))
        calls = answering(lambda: False)
        with pytest.raises(DocShelfError, match="the vector store did not delete 3 stale children"):
            run(access.delete(["c0", "c1", "missing"]))
        assert calls == [["c0", "c1", "missing"]]


class TestHeld:
    def test_of_a_store_that_does_not_tell_is_none(self, run: Run) -> None:
        access = VectorAccess(BlindVectors())
        run(access.add(children(3)))
        assert run(access.held(["c0"])) is None
        assert run(access.missing(["c0"], 5)) is None
        assert run(access.verify(["c0"])) is False

    def test_ids_are_known_as_the_store_writes_them(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        store = Vectors()
        bare, dashed = "0bf53d80218b47f3a085d87838aa28c5", "0bf53d80-218b-47f3-a085-d87838aa28c5"
        store.add_documents([Document(page_content="text")], ids=[dashed])
        # As Qdrant: no id, but what it made of it among the metadata.
        found = [Document(page_content="text", metadata={"_id": dashed})]

        async def aget_by_ids(self: Vectors, ids: Sequence[str]) -> list[Document]:
            return found

        monkeypatch.setattr(Vectors, "get_by_ids", lambda self, ids: found)
        monkeypatch.setattr(Vectors, "aget_by_ids", aget_by_ids)
        assert run(VectorAccess(store).held([bare, "other"])) == {bare}

    def test_documents_that_do_not_tell_their_ids_count_when_none_is_missing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = [Document(page_content="a"), Document(page_content="b")]

        async def aget_by_ids(self: Vectors, ids: Sequence[str]) -> list[Document]:
            return found

        monkeypatch.setattr(Vectors, "get_by_ids", lambda self, ids: found)
        monkeypatch.setattr(Vectors, "aget_by_ids", aget_by_ids)
        access = VectorAccess(Vectors())
        assert run(access.held(["a", "b"])) == {"a", "b"}
        assert run(access.held(["a", "b", "c"])) is None


class TestVerify:
    def test_a_late_store_is_looked_at_again_with_growing_pauses(self, run: Run) -> None:
        store = LateVectors()
        clock = FakeClock()
        clock.on_sleep = lambda: store.catch_up() if clock.time > 3 else None
        access = VectorAccess(store, clock=clock)
        run(access.add(children(40)))
        assert run(access.verify(ids_of(children(40)))) is True
        assert clock.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]

    def test_a_store_that_does_not_show_them_in_time_is_an_error_that_says_what_helps(self, run: Run) -> None:
        clock = FakeClock()
        access = VectorAccess(LateVectors(), clock=clock)
        run(access.add(children(40)))
        with pytest.raises(DocShelfError) as caught:
            run(access.verify(ids_of(children(40))))
        assert str(caught.value) == (
            "of 14 children that were looked for after they were added, 14 are not in the LateVectors after 10 s, 'c0' "
            "for one. It may show them later: raise verify_seconds. Or it does not keep documents under the ids that "
            "it is given, or another collection of it owns these ids. Give the retriever another vector store, or "
            "another `index` name: its children get ids of their own"
        )
        assert clock.time == pytest.approx(10)
        assert max(clock.slept) == 2.0
        assert len(clock.slept) < 12

    def test_a_part_that_is_missing_is_found(self, run: Run) -> None:
        store = Vectors()
        access = VectorAccess(store, verify_seconds=0, clock=FakeClock())
        documents = children(1000)
        run(access.add(documents))
        store.delete(ids_of(documents[500:]))
        with pytest.raises(
            DocShelfError, match=r"of 16 children .*, 8 are not in the Vectors after 0 s, 'c504' for one"
        ):
            run(access.verify(ids_of(documents)))

    def test_zero_seconds_look_once(self, run: Run) -> None:
        clock = FakeClock()
        access = VectorAccess(LateVectors(), verify_seconds=0, clock=clock)
        run(access.add(children(1)))
        with pytest.raises(DocShelfError, match="after 0 s"):
            run(access.verify(["c0"]))
        assert clock.slept == []

    def test_only_a_sample_is_asked_for(self, run: Run) -> None:
        store = RefusingVectors(most=5000)
        access = VectorAccess(store, batch_size=5000)
        run(access.add(children(5000)))
        run(access.verify(ids_of(children(5000))))
        assert store.calls == [("add_documents", 5000), ("get_by_ids", 16)]

    def test_the_real_clock_waits_in_both_ways(self, run: Run) -> None:
        from langchain_docshelf.vector_access.steps import SYSTEM_CLOCK, Call

        def flow() -> Flow[float]:
            before = SYSTEM_CLOCK.now()
            yield Call(SYSTEM_CLOCK, "sleep", 0.001)
            return SYSTEM_CLOCK.now() - before

        assert run(flow()) >= 0.001


class Bare(VectorStore):
    """Nothing but what LangChain's base class has."""

    @classmethod
    def from_texts(cls, texts: Any, embedding: Any, metadatas: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        raise NotImplementedError


class Keeper(Bare):
    def add_texts(self, texts: Any, metadatas: Any = None, *, ids: Any = None, **kwargs: Any) -> list[str]:
        return []


class AsyncDeleter(Keeper):
    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        return True


class Deleter(Keeper):
    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        return True


class Particular(Deleter):
    """Takes ids among its options, and refuses some calls only."""

    def add_texts(self, texts: Any, metadatas: Any = None, **kwargs: Any) -> list[str]:
        return list(kwargs["ids"])

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        if ids is None:
            raise NotImplementedError("give ids")
        return bool(sorted(ids))


class SyncDeleter(Deleter):
    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        msg = f"{self.__class__.__name__} is for sync calls"
        raise NotImplementedError(msg)


class Nameless(Deleter):
    def add_texts(self, texts: Any, metadatas: Any = None) -> list[str]:  # type: ignore[override]
        return []


class OnlyDeleter(Bare):
    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        return True


class TestCheck:
    @pytest.mark.parametrize("kind", [Vectors, StrictVectors, LateVectors, Deleter, Particular])
    def test_a_store_that_has_both_halves_passes(self, run: Run, kind: Any) -> None:
        run(VectorAccess(kind()).check())

    @pytest.mark.parametrize(
        ("kind", "refused", "reason"),
        [
            (Bare, ("sync", "async"), "a Bare cannot delete, so stale children would stay in it; use another"),
            (Keeper, ("sync", "async"), "a Keeper cannot delete, so stale children would stay in it; use another"),
            (OnlyDeleter, ("sync", "async"), "a OnlyDeleter cannot add documents; use another"),
            (Nameless, ("sync", "async"), "Nameless.add_texts takes no ids, by which children are found again"),
            (
                AsyncDeleter,
                ("sync",),
                "a AsyncDeleter has only `adelete`, which sync calls do not reach; use the asynch",
            ),
            (
                AsyncVectors,
                ("sync",),
                "a AsyncVectors has only `adelete`, which sync calls do not reach; use the async",
            ),
            (SyncDeleter, ("async",), "a SyncDeleter has only `delete`, which async calls do not reach; use the synch"),
        ],
    )
    def test_a_store_that_lacks_what_is_needed_is_refused(
        self, run: Run, mode: str, kind: Any, refused: tuple[str, ...], reason: str
    ) -> None:
        access = VectorAccess(kind())
        if mode not in refused:
            run(access.check())
            return
        with pytest.raises(ConfigurationError) as caught:
            run(access.check())
        assert reason in str(caught.value)

    def test_only_what_is_needed_is_asked_for(self, run: Run) -> None:
        run(VectorAccess(Keeper()).check(delete=False))
        run(VectorAccess(OnlyDeleter()).check(add=False))
        run(VectorAccess(Bare()).check(add=False, delete=False))

    def test_a_store_with_only_async_methods_serves_async_calls(self, run: Run, mode: str) -> None:
        if mode == "async":
            store = AsyncVectors()
            access = VectorAccess(store)
            run(access.check())
            assert run(access.add(children(3))) == 3
            assert run(access.delete(["c0", "c1"])) == 2
            assert list(store.children) == ["c2"]

    def test_a_refusal_that_no_class_shows_is_told_at_the_first_addition(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **options: Any) -> Any:
            raise NotImplementedError("read only")

        monkeypatch.setattr(Vectors, "add_documents", refuse)
        monkeypatch.setattr(Vectors, "aadd_documents", refuse)
        with pytest.raises(ConfigurationError, match=r"a Vectors cannot add documents in this way \(read only\)"):
            run(VectorAccess(Vectors()).add(children(1)))

    @pytest.mark.parametrize(
        ("options", "error", "reason"),
        [
            ({"batch_size": 0}, ArgumentValueError, "batch_size is 0; give 1 or more"),
            ({"batch_size": "10"}, ArgumentTypeError, "batch_size is a str"),
            ({"batch_size": True}, ArgumentTypeError, "batch_size is a bool"),
            ({"verify_seconds": -1}, ArgumentValueError, "verify_seconds is -1; give 0 or more"),
            ({"verify_seconds": float("nan")}, ArgumentValueError, "verify_seconds is nan"),
            ({"verify_seconds": "10"}, ArgumentTypeError, "verify_seconds is a str"),
            ({"lister": [("c", "text", {})]}, ArgumentTypeError, "lister is a list; give a function"),
        ],
    )
    def test_options_that_cannot_be_are_refused(self, options: Any, error: type[Exception], reason: str) -> None:
        with pytest.raises(error, match=reason):
            VectorAccess(Vectors(), **options)


class Unlisted(Deleter):
    """Known to no module."""


class Listing(Unlisted):
    """Lists itself."""

    def list_children(self, id_key: str, /) -> Iterator[tuple[str, str, dict[str, Any]]]:
        return ((str(one.id), one.page_content, one.metadata) for one in children(10))


class AsyncListing(Unlisted):
    async def list_children(self, id_key: str, /) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
        for one in children(10):
            yield str(one.id), one.page_content, one.metadata


EXPECTED = [Child(str(one.id), one.page_content, one.metadata) for one in children(10)]


def given() -> Iterator[Any]:
    """A caller's own listing, with what is no child between."""
    yield "x", "no child", None
    for one in children(10):
        yield one.id, one.page_content, one.metadata
        yield "y", "no child", {"other": 1}


class TestList:
    def test_gives_what_was_added_in_bounded_pages(self, run: Run) -> None:
        access = VectorAccess(Vectors(), batch_size=4)
        run(access.add(children(10)))
        assert access.can_list
        assert listed(run, access) == [EXPECTED[:4], EXPECTED[4:8], EXPECTED[8:]]
        assert listed(run, access, ["p1", "p3", "other"]) == [EXPECTED[3:4], EXPECTED[4:6], EXPECTED[9:]]

    @pytest.mark.parametrize("parents", [["p0"], ["other"], [], ["p0", "p1", "p2", "p3"]])
    def test_finds_the_children_of_some_parents(self, run: Run, parents: list[str]) -> None:
        access = VectorAccess(Vectors())
        run(access.add(children(10)))
        expected = [child for child in EXPECTED if child.metadata["doc_id"] in parents]
        assert [child for page in listed(run, access, parents) for child in page] == expected

    def test_passes_over_what_has_no_parent_or_an_odd_one(self, run: Run) -> None:
        store = Vectors()
        odd: Any = ["a", "list"]
        store.add_documents(
            [Document(id="n", page_content="none"), Document(id="l", page_content="x", metadata={"doc_id": odd})]
        )
        run(VectorAccess(store).add(children(1)))
        assert [child.id for page in listed(run, VectorAccess(store)) for child in page] == ["l", "c0"]
        assert [child.id for page in listed(run, VectorAccess(store), ["p0", "a"]) for child in page] == ["c0"]

    def test_what_is_deleted_meanwhile_is_left_out(self, run: Run) -> None:
        access = VectorAccess(Vectors(), batch_size=4)
        run(access.add(children(10)))
        cursor = access.list_children("doc_id")
        assert run(cursor.next()) == EXPECTED[:4]
        run(access.delete(["c0", "c5"]))
        assert run(cursor.next()) == [EXPECTED[4], *EXPECTED[6:8]]
        assert run(cursor.next()) == EXPECTED[8:]

    def test_of_an_empty_store_is_empty(self, run: Run) -> None:
        assert listed(run, VectorAccess(Vectors())) == []

    @pytest.mark.parametrize("size", [1, 4, 10, 11])
    def test_a_function_may_list(self, run: Run, size: int) -> None:
        access = VectorAccess(Unlisted(), lister=given, batch_size=size)
        assert access.can_list
        for _ in range(2):
            assert [child for page in listed(run, access) for child in page] == EXPECTED
        assert [child.id for page in listed(run, access, ["p0"]) for child in page] == ["c0", "c1", "c2"]

    @pytest.mark.parametrize("kind", [Listing, AsyncListing])
    def test_a_store_may_list_itself(self, run: Run, mode: str, kind: Any) -> None:
        access = VectorAccess(kind(), batch_size=4)
        assert access.can_list
        if kind is AsyncListing and mode == "sync":
            with pytest.raises(ConfigurationError, match="the listing of children is asynchronous; use the async"):
                listed(run, access)
        else:
            assert listed(run, access) == [EXPECTED[:4], EXPECTED[4:8], EXPECTED[8:]]

    @pytest.mark.parametrize(
        ("lister", "reason"),
        [
            (lambda: 5, "the listing of children gave a int; it has to give"),
            (lambda: ["abc"], "the listing of children gave 'abc'; it has to give"),
            (lambda: [("id", 5, {})], r"the listing of children gave \('id', 5, {}\); it has to give"),
            (lambda: [("id", "text")], r"the listing of children gave \('id', 'text'\); it has to give"),
            (lambda: [(None, "text", {})], "the listing of children gave .None, 'text'"),
        ],
    )
    def test_a_function_that_gives_something_else_is_told(self, run: Run, lister: Any, reason: str) -> None:
        with pytest.raises(ArgumentTypeError, match=reason):
            listed(run, VectorAccess(Unlisted(), lister=lister))

    def test_a_store_that_cannot_be_listed_is_not(self, run: Run) -> None:
        access = VectorAccess(Unlisted())
        assert not access.can_list
        with pytest.raises(ConfigurationError, match="a Unlisted cannot list its children; give a function"):
            access.list_children("doc_id")
        assert run(access.find_unknown("doc_id", ["p0"])) == []


class TestFindUnknown:
    def test_children_that_nobody_knows_are_found(self, run: Run) -> None:
        access = VectorAccess(Vectors(), batch_size=3)
        run(access.add(children(12)))
        assert run(access.find_unknown("doc_id", ["other"])) == []
        assert [child.id for child in run(access.find_unknown("doc_id", ["p2", "p3"]))] == ["c6", "c7", "c8"]

        def known(of: list[Child]) -> Flow[set[Any]]:
            assert len(of) <= 3
            yield from access.held(child.id for child in of)
            return {child.id for child in of} - {"c10"}

        assert [child.id for child in run(access.find_unknown("doc_id", ["p0", "p1", "p2", "p3"], known))] == ["c10"]
        assert run(access.find_unknown("doc_id", ["p0", "p1"], known)) == []
