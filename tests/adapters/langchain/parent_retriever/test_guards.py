"""Syncs that are refused: into a store that may be rolled back, and those that would delete most sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever
from langchain_text_splitters import CharacterTextSplitter
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

import langchain_docshelf
from docshelf import ConfigurationError, DocShelf, MassDeleteError
from langchain_docshelf import DocShelfStore, PostgresByteStore
from tests.adapters.langchain.retrievers import given, ledger_of, numbers, sentences, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import Vectors

DOCUMENTS = [given(f"d{number}", f"word{number}", f"{number}.md") for number in range(20)]
FULL_FOLDER = r"would remove 19 of 20 sources \('1\.md', '10\.md', '11\.md', \.\.\.\)"


class TestBoundStores:
    """A store inside the caller's transaction: the vector store knows no rollback."""

    @pytest.mark.parametrize("mode", ["sync"])
    def test_they_are_refused_with_the_reason_and_can_be_searched(
        self, tmp_path: Path, vectors: Vectors, twin: Callable[[Any], Twin]
    ) -> None:
        with DocShelf(tmp_path / "x.db", "documents") as shelf:
            retriever = langchain_docshelf.ParentDocumentRetriever(
                vectorstore=vectors, docstore=DocShelfStore(shelf=shelf), child_splitter=sentences()
            )
            retriever.sync(DOCUMENTS[:1])
            engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
            with engine.begin() as connection:
                retriever.docstore = DocShelfStore(shelf=shelf.bind(connection))
                runs: list[Callable[[], object]] = [
                    lambda: retriever.sync(DOCUMENTS),
                    lambda: retriever.sync(DOCUMENTS, dry_run=True),
                    lambda: retriever.add_documents(DOCUMENTS),
                    lambda: retriever.delete_source("0.md"),
                ]
                for run in runs:
                    with pytest.raises(
                        ConfigurationError, match=r"bound to a connection.*rolled back, the vector store"
                    ):
                        run()
                assert retriever.invoke("word0 part")[0].id == "d0"
                assert retriever.changed_sources({"0.md": "1"}) == ["0.md"]
            engine.dispose()
            assert (shelf.count(), len(vectors.children)) == (1, 3)

    async def test_they_are_refused_in_async_calls(self, tmp_path: Path, vectors: Vectors) -> None:
        with DocShelf(tmp_path / "x.db", "documents") as shelf:
            engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
            async with engine.begin() as connection:
                retriever = langchain_docshelf.ParentDocumentRetriever(
                    vectorstore=vectors,
                    docstore=DocShelfStore(shelf=shelf.bind(connection)),
                    child_splitter=sentences(),
                )
                for run in (retriever.async_, retriever.aadd_documents):
                    with pytest.raises(ConfigurationError, match="bound to a connection"):
                        await run(DOCUMENTS)
            await engine.dispose()
            assert vectors.children == {}
            await shelf.aclose()


class TestMassDeletion:
    """A half-mounted folder: most sources would vanish."""

    def test_a_retriever_refuses_it_and_writes_nothing(self, retriever: Twin, vectors: Vectors) -> None:
        retriever.sync(DOCUMENTS)
        vectors.counting.take()
        found = [given("d0", "edited", "0.md")]
        report = retriever.sync(found, scope="collection", dry_run=True)
        assert (numbers(report), report.dry_run) == ((0, 1, 0, 19, 3, 0, 60), True)
        assert "would remove 19 of 20 sources" in str(report.refused)
        assert f"refused: {report.refused}" in str(report).splitlines()
        with pytest.raises(MassDeleteError, match=FULL_FOLDER):
            retriever.sync(found, scope="collection")
        assert (len(vectors.children), vectors.counting.take()) == (60, 0)
        assert retriever.of.docstore.mget(["d0"]) == [DOCUMENTS[0]]
        assert ledger_of(retriever.of).count() == 21
        assert retriever.sync(found, scope="collection", dry_run=True, allow_mass_delete=True).refused is None
        assert numbers(retriever.sync(found, scope="collection", allow_mass_delete=True)) == (0, 1, 0, 19, 3, 0, 60)
        assert len(vectors.children) == 3

    def test_a_share_of_the_documents_may_be_given(self, retriever: Twin) -> None:
        retriever.sync(DOCUMENTS)
        with pytest.raises(MassDeleteError, match="would delete 19 of 20 entries"):
            retriever.sync(DOCUMENTS[:1], scope="collection", max_delete=0.9)
        with pytest.raises(ValueError, match="max_delete=2: give a share from 0 to 1"):
            retriever.sync(DOCUMENTS[:1], scope="collection", max_delete=2)
        assert retriever.sync(DOCUMENTS[:1], scope="collection", max_delete=0.95).counts["DEL"] == 19

    def test_a_source_whose_documents_all_changed_is_an_edit(self, new_retriever: Callable[..., Twin]) -> None:
        lines = CharacterTextSplitter(separator=".", chunk_size=12, chunk_overlap=0)
        retriever = new_retriever(parent_splitter=lines)
        for words in ("first", "second"):
            report = retriever.sync([page(text(f"{words}{number}"), f"{number}.md") for number in range(20)])
        assert report.counts == {"INS": 60, "UPD": 0, "SKIP": 0, "DEL": 60}

    def test_the_store_and_a_retriever_of_langchain_classic_refuse_it_too(
        self, docstore: DocShelfStore, vectors: Vectors, twin: Callable[[Any], Twin]
    ) -> None:
        pairs = [(str(document.id), document) for document in DOCUMENTS]
        store, package = twin(docstore), twin(langchain_docshelf)
        store.sync(pairs)
        classic = ClassicRetriever(vectorstore=vectors, docstore=docstore, child_splitter=sentences())
        with pytest.raises(MassDeleteError, match=FULL_FOLDER):
            package.sync_parent_documents(classic, DOCUMENTS[:1], scope="collection")
        with pytest.raises(MassDeleteError, match=FULL_FOLDER):
            store.sync(pairs[:1], scope="collection")
        assert "19 of 20" in str(store.sync(pairs[:1], scope="collection", dry_run=True).refused)
        assert store.sync(pairs[:1], scope="collection", max_delete=1.0).counts["DEL"] == 19

    def test_the_store_of_the_specification_refuses_it_too(self, spec_store: Twin) -> None:
        spec_store.mset([("k", number, f"{number}.md") for number in range(20)])
        with pytest.raises(MassDeleteError, match=FULL_FOLDER):
            spec_store.conditional_mset([("k", 0, "0.md")], scope="collection")
        assert isinstance(spec_store.of, PostgresByteStore)
        assert len(spec_store.conditional_mset([("k", 0, "0.md")], scope="collection", max_delete=1.0)) == 20

    def test_the_methods_of_langchain_are_not_guarded(self, retriever: Twin) -> None:
        retriever.sync(DOCUMENTS)
        Twin(retriever.of.docstore, retriever.mode, retriever.loop).mdelete([str(one.id) for one in DOCUMENTS])
        assert list(retriever.of.docstore.yield_keys()) == []


def test_a_misspelled_option_of_a_retriever_is_refused(docstore: DocShelfStore, vectors: Vectors) -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        langchain_docshelf.ParentDocumentRetriever(
            vectorstore=vectors,
            docstore=docstore,
            child_splitter=None,
            fingerprint="model",  # type: ignore[call-arg]
        )
