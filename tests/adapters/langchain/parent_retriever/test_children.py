"""How children are made, and which of them are embedded again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import RecursiveCharacterTextSplitter

from tests.adapters.langchain.retrievers import numbers, sentences, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import Vectors


class TestSettings:
    DOCUMENTS = (page(text("a", 4), "s"), page(text("b", 4), "s"))

    def test_other_splitter_settings_embed_only_the_children_that_differ(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        new_retriever().sync(self.DOCUMENTS)
        assert numbers(new_retriever(child_splitter=sentences(30)).sync(self.DOCUMENTS)) == (0, 0, 2, 0, 4, 0, 8)
        assert len(vectors.children) == 4
        assert numbers(new_retriever(child_splitter=sentences(31)).sync(self.DOCUMENTS)) == (0, 0, 2, 0, 0, 4, 0)

    def test_another_embedding_version_embeds_everything_again(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        new_retriever(embedding_version="model-1").sync(self.DOCUMENTS)
        assert numbers(new_retriever(embedding_version="model-2").sync(self.DOCUMENTS)) == (0, 0, 2, 0, 8, 0, 8)
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

    def test_without_a_splitter_each_parent_is_its_own_child(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        new_retriever(child_splitter=None).sync(self.DOCUMENTS)
        assert [found for found, _ in vectors.children.values()] == [one.page_content for one in self.DOCUMENTS]

    def test_a_document_without_text_is_stored_and_has_no_children(self, retriever: Twin, vectors: Vectors) -> None:
        assert numbers(retriever.sync([page("", "s")])) == (1, 0, 0, 0, 0, 0, 0)
        assert numbers(retriever.sync([page("", "s")])) == (0, 0, 1, 0, 0, 0, 0)

    def test_a_parent_splitter_makes_parents_of_documents(
        self, new_retriever: Callable[..., Twin], vectors: Vectors
    ) -> None:
        parents = RecursiveCharacterTextSplitter(separators=["\n\n"], chunk_size=60, chunk_overlap=0)
        retriever = new_retriever(parent_splitter=parents)
        chapters = [text(f"chapter{number}") for number in range(4)]
        assert numbers(retriever.sync([page("\n\n".join(chapters), "book")])) == (4, 0, 0, 0, 12, 0, 0)
        longer = [chapters[0], text("inserted"), *chapters[1:]]
        assert numbers(retriever.sync([page("\n\n".join(longer), "book")])) == (1, 0, 4, 0, 3, 12, 0)

    def test_two_retrievers_may_share_a_document_store(self, new_retriever: Callable[..., Twin]) -> None:
        other = Vectors()
        new_retriever().sync(self.DOCUMENTS)
        second = new_retriever(vectorstore=other, index="other", child_splitter=None)
        assert numbers(second.sync(self.DOCUMENTS)) == (0, 0, 2, 0, 2, 0, 0)
        assert numbers(new_retriever().sync(self.DOCUMENTS)) == (0, 0, 2, 0, 0, 8, 0)


class TestChildrenThatStay:
    """Of a parent that changed only those children are embedded that are new."""

    def test_an_edited_chunk_costs_one_embedding(self, retriever: Twin, vectors: Vectors) -> None:
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

    def test_a_change_of_metadata_that_children_lack_embeds_nothing(self, new_retriever: Callable[..., Twin]) -> None:
        retriever = new_retriever(child_metadata_fields=["source"])
        retriever.sync([Document(id="k", page_content=text("a"), metadata={"source": "s", "n": 1})])
        report = retriever.sync([Document(id="k", page_content=text("a"), metadata={"source": "s", "n": 2})])
        assert numbers(report) == (0, 1, 0, 0, 0, 3, 0)
        assert retriever.invoke("a part", k=1)[0].metadata["n"] == 2

    def test_metadata_that_cannot_be_serialized_embed_every_child_of_a_changed_parent(
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
