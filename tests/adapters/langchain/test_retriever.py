"""The parent retriever: what it finds, what it embeds, what it removes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_text_splitters import CharacterTextSplitter, RecursiveCharacterTextSplitter

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    ConfigurationError,
    DocShelfError,
    MassDeleteError,
    UnsupportedValueError,
)
from langchain_docshelf import DocShelfStore, ParentDocumentRetriever, RetrieverReport
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import BlindVectors, StrictVectors, Vectors
from tests.conftest import Location
from tests.support.markup import Seen


def sentences(size: int = 12) -> CharacterTextSplitter:
    """Splits at full stops."""
    return CharacterTextSplitter(separator=".", chunk_size=size, chunk_overlap=0)


def text(name: str, count: int = 3) -> str:
    """A text that `sentences` splits into `count` children."""
    return ".".join(f"{name} part {number:03}" for number in range(count))


@pytest.fixture
def vectors() -> Vectors:
    return Vectors()


@pytest.fixture
def docstore(place: Location, opened: Callable[[Any], Any]) -> DocShelfStore:
    store: DocShelfStore = opened(DocShelfStore(place.url))
    return store


@pytest.fixture
def new_retriever(docstore: DocShelfStore, vectors: Vectors, twin: Callable[[Any], Twin]) -> Callable[..., Twin]:
    """Makes retrievers with options on one document store and one vector store."""

    def make(**options: Any) -> Twin:
        given = {"vectorstore": vectors, "docstore": docstore, "child_splitter": sentences(), **options}
        return twin(ParentDocumentRetriever(**given))

    return make


@pytest.fixture
def retriever(new_retriever: Callable[..., Twin]) -> Twin:
    return new_retriever()


def numbers(report: RetrieverReport) -> tuple[int, ...]:
    """INS, UPD, SKIP, DEL; embedded, spared, removed."""
    return (*report.counts.values(), report.embedded, report.spared, report.removed)


class TestSync:
    def test_of_a_thousand_documents_only_the_children_of_ten_that_changed_are_embedded(
        self, retriever: Twin, vectors: Vectors
    ) -> None:
        documents = [page(text(f"d{number}"), f"{number}.md") for number in range(1000)]
        assert numbers(retriever.sync(documents)) == (1000, 0, 0, 0, 3000, 0, 0)
        assert vectors.counting.take() == 3000
        for number in range(0, 1000, 100):
            documents[number] = page(text(f"changed{number}", 2), f"{number}.md")
        report = retriever.sync(documents)
        assert (report.embedded, report.spared, report.removed) == (20, 2970, 30)
        assert vectors.counting.take() == 20
        assert len(vectors.children) == 2990
        assert numbers(retriever.sync(documents)) == (0, 0, 1000, 0, 0, 2990, 0)
        assert vectors.counting.take() == 0

    def test_a_document_with_an_id_keeps_it_when_its_text_changes(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([Document(id="a", page_content=text("old"), metadata={"source": "s"})])
        report = retriever.sync([Document(id="a", page_content=text("new", 2), metadata={"source": "s"})])
        assert numbers(report) == (0, 1, 0, 0, 2, 0, 3)
        assert {of["doc_id"] for _, of in vectors.children.values()} == {"a"}
        assert sorted(found for found, _ in vectors.children.values()) == ["new part 000", "new part 001"]

    def test_metadata_that_changes_reaches_the_children(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s", n=1)])
        assert numbers(retriever.sync([page(text("a"), "s", n=2)])) == (0, 1, 0, 0, 3, 0, 3)
        assert {of["n"] for _, of in vectors.children.values()} == {2}

    def test_what_does_not_count_as_change_is_not_embedded(
        self, place: Location, opened: Callable[[Any], Any], new_retriever: Callable[..., Twin]
    ) -> None:
        retriever = new_retriever(docstore=opened(DocShelfStore(place.url, hash_exclude=("mtime",))))
        retriever.sync([page(text("a"), "s", mtime=1)])
        assert numbers(retriever.sync([page(text("a"), "s", mtime=2)])) == (0, 0, 1, 0, 0, 3, 0)

    def test_a_document_that_is_gone_leaves_nothing_behind(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "s"), page(text("c"), "t")])
        report = retriever.sync([page(text("b"), "s")])
        assert numbers(report) == (0, 0, 1, 1, 0, 3, 3)
        assert {of["source"] for _, of in vectors.children.values()} == {"s", "t"}
        assert not any("a part" in found for found, _ in vectors.children.values())
        assert len(list(retriever.of.docstore.yield_keys())) == 2

    def test_a_source_that_lost_its_last_document_leaves_nothing_behind(
        self, retriever: Twin, vectors: Vectors
    ) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "t")])
        with pytest.raises(MassDeleteError, match="source 's' would delete all of its 1 documents"):
            retriever.sync([], source="s")
        assert len(vectors.children) == 6
        assert numbers(retriever.sync([], source="s", allow_mass_delete=True)) == (0, 0, 0, 1, 0, 0, 3)
        assert {of["source"] for _, of in vectors.children.values()} == {"t"}

    def test_an_inserted_document_makes_no_other_new(self, retriever: Twin, vectors: Vectors) -> None:
        rows = [page(text(f"row{number}"), "table.csv") for number in range(5)]
        retriever.sync(rows)
        vectors.counting.take()
        assert numbers(retriever.sync([page(text("first"), "table.csv"), *rows])) == (1, 0, 5, 0, 3, 15, 0)
        assert vectors.counting.take() == 3

    def test_equal_documents_of_one_source_are_each_kept(self, retriever: Twin, vectors: Vectors) -> None:
        assert numbers(retriever.sync([page("blank", "s", page=3), page("blank", "s", page=7)]))[0] == 2
        assert sorted(of["page"] for _, of in vectors.children.values()) == [3, 7]

    def test_one_id_in_two_sources_is_two_documents(self, retriever: Twin, vectors: Vectors) -> None:
        for source in ("s", "t"):
            retriever.sync([Document(id="a", page_content=text(source), metadata={"source": source})])
        assert len(vectors.children) == 6
        assert numbers(retriever.delete_source("t"))[3:] == (1, 0, 0, 3)
        assert [found.metadata["source"] for found in retriever.invoke("s part")] == ["s"]

    def test_a_source_that_is_given_takes_all_documents(self, retriever: Twin) -> None:
        retriever.sync([page(text("a"), "x"), page(text("b"))], source="s")
        assert [(source.source, source.entries) for source in retriever.of.docstore.sources()] == [("s", 2)]
        assert numbers(retriever.sync([page(text("b"))], source="s")) == (0, 0, 1, 1, 0, 3, 3)

    def test_the_whole_collection_is_made_so_only_when_asked(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "t")])
        assert numbers(retriever.sync([page(text("a"), "s")]))[3] == 0
        assert numbers(retriever.sync([page(text("a"), "s")], scope="collection")) == (0, 0, 1, 1, 0, 3, 3)
        assert len(vectors.children) == 3

    def test_a_dry_run_foresees_and_writes_nothing(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "s")])
        vectors.counting.take()
        before = vectors.children
        changed = [page(text("a"), "s"), page(text("c", 2), "s")]
        report = retriever.sync(changed, dry_run=True)
        assert (report.dry_run, vectors.children, vectors.counting.take()) == (True, before, 0)
        done = retriever.sync(changed)
        assert numbers(report) == numbers(done) == (1, 0, 1, 1, 2, 3, 3)
        assert [change.key for change in report] == [change.key for change in done]

    @pytest.mark.parametrize("documents", [[], iter(()), {}])
    def test_nothing_to_sync_is_nothing_done(self, docstore: DocShelfStore, documents: Any) -> None:
        retriever = ParentDocumentRetriever(vectorstore=Vectors(), docstore=docstore, child_splitter=None)
        assert numbers(retriever.sync(documents)) == (0,) * 7

    def test_a_document_that_cannot_be_stored_stops_the_sync_before_anything_is_done(
        self, retriever: Twin, vectors: Vectors
    ) -> None:
        with pytest.raises(UnsupportedValueError, match=r"metadata\.o: cannot store a object"):
            retriever.sync([page(text("a"), "s"), page(text("b"), "s", o=object())])
        with pytest.raises(ArgumentTypeError, match="document 1"):
            retriever.sync([page(text("a"), "s"), "text"])
        assert (vectors.children, retriever.of.docstore.sources()) == ({}, [])

    def test_documents_that_were_deleted_behind_its_back_come_back(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a"), "s")])
        retriever.of.docstore.delete_source("s")
        assert retriever.invoke("a part") == []
        assert numbers(retriever.sync([page(text("a"), "s")])) == (1, 0, 0, 0, 0, 3, 0)
        assert retriever.invoke("a part") == [page(text("a"), "s")]

    def test_what_a_vector_store_did_not_delete_is_told_and_done_by_the_next_sync(
        self, retriever: Twin, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        retriever.sync([page(text("a"), "s"), page(text("b"), "s")])

        async def refuse(self: Vectors, ids: list[str]) -> bool:
            return False

        with monkeypatch.context() as patched:
            patched.setattr(Vectors, "delete", lambda self, ids: False)
            patched.setattr(Vectors, "adelete", refuse)
            with pytest.raises(DocShelfError, match="did not delete 3 stale children"):
                retriever.sync([page(text("a"), "s")])
        assert numbers(retriever.sync([page(text("a"), "s")]))[4:] == (0, 3, 3)
        assert len(vectors.children) == 3

    def test_ids_are_the_same_in_every_process(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page("fixed text.of two", "s", n=1)])
        [key] = list(retriever.of.docstore.yield_keys())
        assert key == "124ed4e3-7453-5545-8b5f-77e92d320a05"
        assert sorted(vectors.children) == [
            "0e7d4c48-ed16-5c63-b122-39afa7fa3fa6",
            "e1985770-e76b-5624-b16a-a823034c1547",
        ]


class TestSettings:
    DOCUMENTS = (page(text("a", 4), "s"), page(text("b", 4), "s"))

    def test_a_splitter_of_other_settings_splits_again_and_embeds_what_came_out_otherwise(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        new_retriever().sync(self.DOCUMENTS)
        assert numbers(new_retriever(child_splitter=sentences(30)).sync(self.DOCUMENTS)) == (0, 0, 2, 0, 4, 0, 8)
        assert len(vectors.children) == 4
        assert numbers(new_retriever(child_splitter=sentences(31)).sync(self.DOCUMENTS)) == (0, 0, 2, 0, 0, 4, 0)

    def test_another_fingerprint_embeds_all_anew(self, new_retriever: Callable[..., Twin], vectors: Vectors) -> None:
        new_retriever(fingerprint="model-1").sync(self.DOCUMENTS)
        assert numbers(new_retriever(fingerprint="model-2").sync(self.DOCUMENTS)) == (0, 0, 2, 0, 8, 0, 8)
        assert len(vectors.children) == 8

    def test_children_have_only_the_metadata_that_is_asked_for(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        retriever = new_retriever(child_metadata_fields=["n", "missing"], id_key="parent")
        retriever.sync([page(text("a", 1), "s", n=1, m=2)])
        [key] = list(retriever.of.docstore.yield_keys())
        assert list(vectors.children.values()) == [("a part 000", {"n": 1, "parent": key, "doc_source": "s"})]

    def test_a_function_may_make_the_children(self, new_retriever: Callable[..., Twin], vectors: Vectors) -> None:
        retriever = new_retriever(child_splitter=lambda parent: [page("summary"), page("question")])
        retriever.sync([page(text("a"), "s")])
        assert sorted(found for found, _ in vectors.children.values()) == ["question", "summary"]
        assert retriever.invoke("summary") == [page(text("a"), "s")]

    def test_without_a_splitter_the_parent_is_its_only_child(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        new_retriever(child_splitter=None).sync(self.DOCUMENTS)
        assert [found for found, _ in vectors.children.values()] == [one.page_content for one in self.DOCUMENTS]

    def test_a_document_without_text_has_no_children_and_is_kept(self, retriever: Twin, vectors: Vectors) -> None:
        assert numbers(retriever.sync([page("", "s")])) == (1, 0, 0, 0, 0, 0, 0)
        assert numbers(retriever.sync([page("", "s")])) == (0, 0, 1, 0, 0, 0, 0)

    def test_parents_may_be_pieces_of_documents(self, new_retriever: Callable[..., Twin], vectors: Vectors) -> None:
        parents = RecursiveCharacterTextSplitter(separators=["\n\n"], chunk_size=60, chunk_overlap=0)
        retriever = new_retriever(parent_splitter=parents)
        chapters = [text(f"chapter{number}") for number in range(4)]
        assert numbers(retriever.sync([page("\n\n".join(chapters), "book")])) == (4, 0, 0, 0, 12, 0, 0)
        longer = [chapters[0], text("inserted"), *chapters[1:]]
        assert numbers(retriever.sync([page("\n\n".join(longer), "book")])) == (1, 0, 4, 0, 3, 12, 0)

    def test_two_vector_stores_may_follow_one_document_store(self, new_retriever: Callable[..., Twin]) -> None:
        other = Vectors()
        new_retriever().sync(self.DOCUMENTS)
        second = new_retriever(vectorstore=other, index="other", child_splitter=None)
        assert numbers(second.sync(self.DOCUMENTS)) == (0, 0, 2, 0, 2, 0, 0)
        assert numbers(new_retriever().sync(self.DOCUMENTS)) == (0, 0, 2, 0, 0, 8, 0)


class TestAdd:
    def test_documents_are_added_and_nothing_is_removed(self, retriever: Twin, vectors: Vectors) -> None:
        assert numbers(retriever.add_documents([page(text("a"), "s")])) == (1, 0, 0, 0, 3, 0, 0)
        assert numbers(retriever.add_documents([page(text("b"), "s")])) == (1, 0, 0, 0, 3, 0, 0)
        assert numbers(retriever.add_documents([page(text("b"), "s")])) == (0, 0, 1, 0, 0, 3, 0)
        assert len(vectors.children) == 6

    def test_a_document_that_is_added_changed_leaves_no_stale_children(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.add_documents([page(text("a"), "s"), page(text("b"), "s")], ids=["a", "b"])
        report = retriever.add_documents([page(text("c", 2), "s")], ids=["a"])
        assert numbers(report) == (0, 1, 0, 0, 2, 0, 3)
        assert len(vectors.children) == 5

    def test_what_was_added_a_sync_spares(self, retriever: Twin) -> None:
        retriever.add_documents([page(text("a"), "s"), page(text("b"), "s")])
        assert numbers(retriever.sync([page(text("a"), "s")])) == (0, 0, 1, 1, 0, 3, 3)

    def test_there_is_one_id_for_each_parent(self, retriever: Twin) -> None:
        with pytest.raises(ArgumentValueError, match="1 parent documents and 2 ids"):
            retriever.add_documents([page("a")], ids=["a", "b"])

    def test_ids_are_the_keys_of_the_parents(self, retriever: Twin) -> None:
        retriever.add_documents([page("a"), page("b")], ids=["x", "y"])
        assert retriever.of.docstore.mget(["y", "x"]) == [page("b"), page("a")]

    def test_a_source_that_is_deleted_leaves_nothing_behind(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.add_documents([page(text("a"), "s"), page(text("b"), "t")])
        assert numbers(retriever.delete_source("s")) == (0, 0, 0, 1, 0, 0, 3)
        assert [source.source for source in retriever.of.docstore.sources()] == ["t"]
        assert numbers(retriever.delete_source("s")) == (0,) * 7


class TestSearch:
    @pytest.fixture
    def filled(self, new_retriever: Callable[..., Twin]) -> Callable[..., Twin]:
        def make(**options: Any) -> Twin:
            retriever = new_retriever(**options)
            retriever.sync([page("apple pie.apple tart", "a"), page("banana split", "b"), page("cherry cake", "c")])
            return retriever

        return make

    def test_children_are_found_and_parents_answered_each_once(self, filled: Callable[..., Twin]) -> None:
        found = filled().invoke("apple")
        assert found[0] == page("apple pie.apple tart", "a")
        assert len(found) == 3

    def test_arguments_of_the_search_are_passed_on(self, filled: Callable[..., Twin]) -> None:
        assert filled(search_kwargs={"k": 1}).invoke("banana") == [page("banana split", "b")]
        assert len(filled(search_kwargs={"k": 1}).invoke("banana", k=4)) == 3

    def test_a_threshold_of_scores(self, filled: Callable[..., Twin]) -> None:
        retriever = filled(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.6})
        assert retriever.invoke("cherry") == [page("cherry cake", "c")]

    def test_maximal_marginal_relevance(self, filled: Callable[..., Twin]) -> None:
        retriever = filled(search_type="mmr", search_kwargs={"k": 2, "lambda_mult": 0.0})
        assert len(retriever.invoke("apple")) == 2, "the two children of one parent are too much alike"

    def test_another_type_of_search_is_refused(self, new_retriever: Callable[..., Twin]) -> None:
        with pytest.raises(ValueError, match="search_type"):
            new_retriever(search_type="guess")


class TestALostVectorStore:
    DOCUMENTS: ClassVar = [page(text(f"d{number}"), f"{number}.md") for number in range(20)]

    def test_is_noticed_and_filled_again(
        self, new_retriever: Callable[..., Twin], retriever: Twin, vectors: Vectors
    ) -> None:
        retriever.sync(self.DOCUMENTS)
        anew = Vectors()
        again = new_retriever(vectorstore=anew)
        assert numbers(again.sync(self.DOCUMENTS, dry_run=True)) == (0, 0, 20, 0, 60, 0, 0)
        assert numbers(again.sync(self.DOCUMENTS)) == (0, 0, 20, 0, 60, 0, 0)
        assert anew.children == vectors.children
        assert numbers(again.sync(self.DOCUMENTS)) == (0, 0, 20, 0, 0, 60, 0)

    def test_is_filled_again_by_adding_too(self, new_retriever: Callable[..., Twin], retriever: Twin) -> None:
        retriever.add_documents(self.DOCUMENTS)
        anew = Vectors()
        assert new_retriever(vectorstore=anew).add_documents(self.DOCUMENTS).embedded == 60
        assert len(anew.children) == 60

    @pytest.mark.parametrize("kind", [Vectors, StrictVectors])
    def test_has_nothing_to_remove(
        self, new_retriever: Callable[..., Twin], retriever: Twin, kind: Callable[[], Vectors]
    ) -> None:
        retriever.sync(self.DOCUMENTS)
        anew = kind()
        again = new_retriever(vectorstore=anew)
        changed = [page(text("changed", 2), "0.md"), *self.DOCUMENTS[1:10]]
        assert numbers(again.sync(changed, scope="collection")) == (1, 0, 9, 11, 29, 0, 0)
        assert len(anew.children) == 29

    @pytest.mark.parametrize("kind", [Vectors, StrictVectors])
    def test_that_lost_a_part_is_filled_up(
        self, new_retriever: Callable[..., Twin], kind: Callable[[], Vectors]
    ) -> None:
        vectors = kind()
        retriever = new_retriever(vectorstore=vectors)
        retriever.sync(self.DOCUMENTS)
        whole = vectors.children
        for child in list(vectors.store)[::3]:
            del vectors.store[child]
        vectors.counting.take()
        assert numbers(retriever.sync(self.DOCUMENTS, reindex=True)) == (0, 0, 20, 0, 20, 40, 0)
        assert vectors.counting.take() == 20
        assert vectors.children == whole

    def test_that_does_not_tell_is_filled_again_when_asked(self, new_retriever: Callable[..., Twin]) -> None:
        new_retriever(vectorstore=BlindVectors()).sync(self.DOCUMENTS)
        anew = BlindVectors()
        again = new_retriever(vectorstore=anew)
        assert numbers(again.sync(self.DOCUMENTS)) == (0, 0, 20, 0, 0, 60, 0)
        assert numbers(again.sync(self.DOCUMENTS, reindex=True)) == (0, 0, 20, 0, 60, 0, 0)
        assert len(anew.children) == 60


class TestReport:
    REPORT = RetrieverReport((), embedded=1200, spared=3, removed=2)

    def test_it_prints_as_a_table(self) -> None:
        lines = str(self.REPORT).splitlines()
        assert lines[-3:] == ["embedded     1,200", "spared           3", "removed          2"]
        assert {len(line) for line in lines} == {18}

    def test_it_shows_as_a_table_in_a_notebook(self) -> None:
        rows = Seen(self.REPORT._repr_html_()).rows
        assert rows[-3:] == [["embedded", "1,200", ""], ["spared", "3", ""], ["removed", "2", ""]]

    def test_its_repr_is_one_line(self) -> None:
        assert repr(self.REPORT) == "<RetrieverReport INS=0 UPD=0 SKIP=0 DEL=0 embedded=1200 spared=3 removed=2>"


class TestSources:
    """The same key in two sources is two parents."""

    def test_a_child_leads_to_the_parent_of_its_own_source(self, retriever: Twin) -> None:
        fruit = Document(id="page 0", page_content="Apples are red", metadata={"source": "fruit.md"})
        cars = Document(id="page 0", page_content="Cars have wheels", metadata={"source": "cars.md"})
        for documents in ([fruit], [cars]):
            retriever.sync(documents)
        assert retriever.invoke("Apples are red", k=1) == [fruit]
        assert retriever.invoke("Cars have wheels", k=1) == [cars]
        assert sorted(found.page_content for found in retriever.invoke("Apples", k=4)) == [
            "Apples are red",
            "Cars have wheels",
        ]
        retriever.delete_source("cars.md")
        assert retriever.invoke("Cars have wheels", k=1) == [fruit]

    def test_a_child_that_does_not_tell_its_source_leads_to_the_parent_written_last(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        retriever = new_retriever(source_id_key="")
        for source in ("one.md", "two.md"):
            retriever.sync([Document(id="k", page_content=f"Text of {source}", metadata={"source": source})])
        assert {frozenset(metadata) for _, metadata in vectors.children.values()} == {frozenset({"source", "doc_id"})}
        assert [found.page_content for found in retriever.invoke("Text", k=4)] == ["Text of two.md"]

    def test_a_source_given_by_the_caller_is_that_of_the_child(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync([page(text("a", 1), "in metadata")], source="given")
        [(_, metadata)] = vectors.children.values()
        assert (metadata["source"], metadata["doc_source"]) == ("in metadata", "given")
        assert [found.page_content for found in retriever.invoke("a part")] == [text("a", 1)]


class TestChildrenThatStay:
    """Of a parent that changed only those children are embedded that are new."""

    def test_one_chunk_of_many_is_edited(self, retriever: Twin, vectors: Vectors) -> None:
        def document(*parts: str, **metadata: Any) -> Document:
            return Document(id="k", page_content=".".join(parts), metadata={"source": "s", **metadata})

        parts = [f"part {number:05}" for number in range(20)]
        assert numbers(retriever.sync([document(*parts)])) == (1, 0, 0, 0, 20, 0, 0)
        edited = [*parts[:7], "another one", *parts[8:]]
        assert numbers(retriever.sync([document(*edited)])) == (0, 1, 0, 0, 1, 19, 1)
        assert numbers(retriever.sync([document("first of all", *edited)])) == (0, 1, 0, 0, 1, 20, 0)
        assert numbers(retriever.sync([document(*parts)])) == (0, 1, 0, 0, 1, 19, 2)
        assert sorted(found for found, _ in vectors.children.values()) == parts
        # What the children have of the metadata is theirs.
        assert numbers(retriever.sync([document(*parts, n=1)])) == (0, 1, 0, 0, 20, 0, 20)

    def test_equal_chunks_are_several_children(self, retriever: Twin, vectors: Vectors) -> None:
        twice = Document(id="k", page_content="same thing.same thing.other one", metadata={"source": "s"})
        assert numbers(retriever.sync([twice])) == (1, 0, 0, 0, 3, 0, 0)
        once = twice.model_copy(update={"page_content": "other one.same thing"})
        assert numbers(retriever.sync([once])) == (0, 1, 0, 0, 0, 2, 1)
        assert sorted(found for found, _ in vectors.children.values()) == ["other one", "same thing"]

    def test_metadata_that_children_do_not_have_embed_nothing(self, new_retriever: Callable[..., Twin]) -> None:
        retriever = new_retriever(child_metadata_fields=["source"])
        retriever.sync([Document(id="k", page_content=text("a"), metadata={"source": "s", "n": 1})])
        report = retriever.sync([Document(id="k", page_content=text("a"), metadata={"source": "s", "n": 2})])
        assert numbers(report) == (0, 1, 0, 0, 0, 3, 0)
        assert retriever.invoke("a part", k=1)[0].metadata["n"] == 2

    def test_where_a_splitter_adds_what_cannot_be_told_all_are_embedded(
        self, new_retriever: Callable[..., Twin]
    ) -> None:
        def with_an_object(parent: Document) -> list[Document]:
            pieces = sentences().split_documents([parent])
            return [Document(page_content=one.page_content, metadata={"n": object()}) for one in pieces]

        retriever = new_retriever(child_splitter=with_an_object)
        retriever.sync([Document(id="k", page_content=text("a"), metadata={"source": "s"})])
        same = retriever.sync([Document(id="k", page_content=text("a"), metadata={"source": "s"})])
        assert numbers(same) == (0, 0, 1, 0, 0, 3, 0)
        other = retriever.sync([Document(id="k", page_content=text("a", 4), metadata={"source": "s"})])
        assert numbers(other) == (0, 1, 0, 0, 4, 0, 3)


class TestRefusals:
    def test_one_document_is_no_list(self, retriever: Twin, docstore: DocShelfStore) -> None:
        with pytest.raises(ArgumentTypeError, match="documents is a Document; give an iterable of documents"):
            retriever.sync(page("text", "s"))
        assert list(docstore.yield_keys()) == []

    def test_a_splitter_that_gives_no_documents_is_told(self, new_retriever: Callable[..., Twin]) -> None:
        with pytest.raises(ArgumentTypeError, match="the child_splitter gave a str; it has to give Documents"):
            new_retriever(child_splitter=lambda parent: ["text"]).sync([page("text", "s")])

    def test_a_vector_store_that_cannot_delete_is_refused_before_anything_is_written(
        self, new_retriever: Callable[..., Twin], docstore: DocShelfStore
    ) -> None:
        class Keeper(VectorStore):
            @classmethod
            def from_texts(cls, texts: Any, embedding: Any, metadatas: Any = None, **kwargs: Any) -> Any:
                raise NotImplementedError

            def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
                raise NotImplementedError

        for write in (new_retriever(vectorstore=Keeper()).sync, new_retriever(vectorstore=Keeper()).add_documents):
            with pytest.raises(ConfigurationError, match="a Keeper cannot delete"):
                write([page("text", "s")])
        assert list(docstore.yield_keys()) == []


def test_a_vector_store_that_tells_ids_its_own_way_is_asked(new_retriever: Callable[..., Twin]) -> None:
    class LikeQdrant(Vectors):
        def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
            found = super().get_by_ids(ids)
            return [Document(page_content=one.page_content, metadata={**one.metadata, "_id": one.id}) for one in found]

    vectors = LikeQdrant()
    retriever = new_retriever(vectorstore=vectors)
    documents = [page(text(name), "s") for name in "abc"]
    retriever.sync(documents)
    assert numbers(retriever.sync(documents, reindex=True)) == (0, 0, 3, 0, 0, 9, 0)
    vectors.delete(list(vectors.children)[:4])
    assert numbers(retriever.sync(documents, reindex=True)) == (0, 0, 3, 0, 4, 5, 0)


def test_progress_is_shown_of_what_is_embedded(retriever: Twin, capsys: pytest.CaptureFixture[str]) -> None:
    documents = [page(text(name), "s") for name in "abcdefg"]
    retriever.sync(documents)
    assert "embedding" not in capsys.readouterr().err
    retriever.sync([*documents, page("new", "s"), page("newer", "s")], show_progress=True)
    assert "2/2" in capsys.readouterr().err
    retriever.add_documents([page("newest", "s")], show_progress=True)
    assert "1/1" in capsys.readouterr().err
