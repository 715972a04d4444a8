"""IngestionPipeline on docshelf's document store, and IngestionCache on its key-value store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_index.core
import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, MetadataMode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore

from docshelf import ArgumentTypeError, ArgumentValueError, MassDeleteError
from llama_index_docshelf import DocShelfDocumentStore, DocShelfKVStore
from tests.adapters.llama_index.twins import Twin, ids, piece
from tests.support.face import Loop
from tests.support.statements import recorded_statements

# Metadata whose keys are not sorted: caches and hashes depend on their order.
METADATA = {"title": "T", "author": "A"}
SPLIT = [SentenceSplitter(chunk_size=30, chunk_overlap=0), MockEmbedding(embed_dim=2)]


def document(name: str, text: str = "") -> Document:
    return Document(id_=name, text=f"First of {name}. {text} " + "Much more of the same. " * 10, metadata=METADATA)


class Run:
    """A pipeline on one docstore and one vector store. Each call runs it once."""

    def __init__(self, docstore: Any, strategy: str, mode: str, loop: Loop, **options: Any) -> None:
        self.docstore = docstore
        self.vectors = SimpleVectorStore()
        self.strategy = DocstoreStrategy(strategy)
        self.mode, self.loop, self.options = mode, loop, options

    def __call__(self, documents: Sequence[Document], docstore: Any = None, **options: Any) -> list[str]:
        pipeline = IngestionPipeline(
            **{"transformations": SPLIT, "vector_store": self.vectors, "disable_cache": True, **self.options},
            docstore=docstore or self.docstore,
            docstore_strategy=self.strategy,
        )
        if self.mode == "sync":
            nodes = pipeline.run(documents=list(documents), **options)
        else:
            nodes = self.loop.run(pipeline.arun(documents=list(documents), **options))
        return [node.get_content(MetadataMode.ALL) for node in nodes]

    def state(self) -> Any:
        """What the stores hold after a run, without the random ids of the chunks."""
        return (
            {name: (node.hash, node.get_content()) for name, node in self.docstore.docs.items()},
            self.docstore.get_all_document_hashes(),
            sorted(self.vectors.data.text_id_to_ref_doc_id.values()),
        )


@pytest.mark.parametrize("store_text", [True, False])
@pytest.mark.parametrize("strategy", [strategy.value for strategy in DocstoreStrategy])
def test_a_pipeline_does_what_it_does_on_the_store_of_the_framework(
    docstore: Twin, mode: str, loop: Loop, strategy: str, store_text: bool
) -> None:
    theirs, ours = Run(SimpleDocumentStore(), strategy, mode, loop), Run(docstore.store, strategy, mode, loop)
    first = [document("b"), document("a"), document("same"), document("twin of same", "")]
    second = [document("a", "Changed."), document("same"), document("new")]
    if strategy == "upserts_and_delete" and not store_text:
        second.append(document("b"))  # without it the framework's store fails: see the guide
        second.append(document("twin of same", ""))
    for documents in (first, first, second, second):
        assert ours(documents, store_doc_text=store_text) == theirs(documents, store_doc_text=store_text)
        assert ours.state() == theirs.state()


def test_documents_without_stored_text_can_be_left_out(docstore: Twin, mode: str, loop: Loop) -> None:
    ours = Run(docstore.store, "upserts_and_delete", mode, loop)
    ours([document("a"), document("b")], store_doc_text=False)
    ours([document("a")], store_doc_text=False)
    assert list(ours.state()[1].values()) == ["a"]


def test_a_pipeline_takes_in_nodes_of_documents(docstore: Twin, mode: str, loop: Loop) -> None:
    nodes = [piece("a-1", "a"), piece("a-2", "a")]
    pipeline = IngestionPipeline(transformations=[], docstore=docstore.store, vector_store=SimpleVectorStore())
    result = pipeline.run(nodes=nodes) if mode == "sync" else loop.run(pipeline.arun(nodes=nodes))
    assert ids(result) == ["a-1", "a-2"]
    assert docstore.get_ref_doc_info("a").node_ids == ["a-1", "a-2"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_share_the_cache(
    new_store: Callable[..., Twin], docstore: Twin, mode: str, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An unpickled splitter loads its tokenizer from the network, unless this variable names the installed one.
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(Path(llama_index.core.__file__).parent / "_static/tiktoken_cache"))
    cache = new_store(DocShelfKVStore)
    run = Run(docstore.store, "upserts", mode, loop, cache=IngestionCache(cache=cache.store), disable_cache=False)
    documents = [document("a"), document("b")]
    chunks = run(documents, num_workers=2)
    assert len(chunks) > 2
    cached = cache.get_all("llama_cache")
    assert len(cached) == 4  # two documents, two transformations
    docstore.delete_document("a")
    docstore.delete_document("b")
    assert run(documents, num_workers=2) == chunks
    assert cache.get_all("llama_cache") == cached


class Counted(TransformComponent):
    """Counts its runs."""

    calls: list[int] = []  # noqa: RUF012

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> Sequence[BaseNode]:
        self.calls.append(len(nodes))
        return nodes

    def to_dict(self, **_: Any) -> dict[str, Any]:
        return {"class_name": "Counted"}


def test_cached_nodes_equal_computed_nodes(new_store: Callable[..., Twin], mode: str, loop: Loop) -> None:
    caches: list[Any] = [SimpleKVStore(), new_store(DocShelfKVStore).store]
    results = []
    for cache in caches:
        counted = Counted(calls=[])
        pipeline = IngestionPipeline(transformations=[*SPLIT, counted], cache=IngestionCache(cache=cache))
        for _ in range(3):
            nodes = (
                pipeline.run(documents=[document("a")])
                if mode == "sync"
                else loop.run(pipeline.arun(documents=[document("a")]))
            )
            results.append([(node.get_content(MetadataMode.ALL), node.embedding, node.ref_doc_id) for node in nodes])
        assert len(counted.calls) == 1
    assert all(result == results[0] for result in results)


def test_the_cache_is_cleared(new_store: Callable[..., Twin]) -> None:
    cache = IngestionCache(cache=new_store(DocShelfKVStore).store)
    cache.put("key", [piece("a", "d")])
    assert cache.get("key") == [piece("a", "d")]
    cache.clear()
    assert cache.get("key") is None


class TestIngestionRun:
    """One run of a pipeline on an IngestionRun, which has read the hashes before."""

    @pytest.fixture
    def run(self, docstore: Twin, mode: str, loop: Loop, strategy: str) -> Run:
        return Run(docstore.store, strategy, mode, loop)

    def run_once(
        self, run: Run, documents: Sequence[Document], guard: dict[str, Any] | None = None, **options: Any
    ) -> list[str]:
        store = run.docstore.ingestion_run(documents, **(guard or {}))
        if run.mode == "sync":
            with store as docstore:
                return run(documents, docstore, **options)
        docstore = run.loop.run(store.__aenter__())
        failure: list[Any] = [None, None, None]
        try:
            return run(documents, docstore, **options)
        except BaseException as error:
            failure = [type(error), error, None]
            raise
        finally:
            run.loop.run(store.__aexit__(*failure))

    @pytest.mark.parametrize("store_text", [True, False])
    @pytest.mark.parametrize("strategy", [strategy.value for strategy in DocstoreStrategy])
    def test_it_has_the_result_of_a_run_without_it(
        self, run: Run, mode: str, loop: Loop, strategy: str, store_text: bool
    ) -> None:
        plain = Run(SimpleDocumentStore(), strategy, mode, loop)
        first = [document("b"), document("a"), document("same"), document("same too", "")]
        second = [document("b"), document("a", "Changed."), document("same"), document("same too"), document("new")]
        for documents in (first, first, second):
            expected = plain(documents, store_doc_text=store_text)
            assert self.run_once(run, documents, store_doc_text=store_text) == expected
            assert run.state() == plain.state()

    @pytest.mark.parametrize(
        ("strategy", "unchanged", "first"),
        [("upserts", 1, 14), ("upserts_and_delete", 4, 18), ("duplicates_only", 4, 18)],
    )
    def test_its_number_of_statements_does_not_grow_with_the_documents(
        self, run: Run, unchanged: int, first: int
    ) -> None:
        for count in (3, 40):
            run.docstore.shelf.clear()
            documents = [document(f"{count}-{number}") for number in range(count)]
            with recorded_statements() as statements:
                self.run_once(run, documents)
            assert len(statements) <= first
            with recorded_statements() as statements:
                self.run_once(run, documents)
            assert len(statements) == unchanged

    @pytest.mark.parametrize("strategy", ["upserts", "duplicates_only"])
    def test_the_run_after_a_failed_run_processes_its_documents(self, run: Run) -> None:
        class Broken(TransformComponent):
            def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> Sequence[BaseNode]:
                raise RuntimeError("the model is down")

        working, run.options = run.options, {"transformations": [Broken()]}
        with pytest.raises(RuntimeError, match="the model is down"):
            self.run_once(run, [document("a")])
        assert run.docstore.get_all_document_hashes() == {}
        run.options = working
        assert self.run_once(run, [document("a")])

    @pytest.mark.parametrize("strategy", ["upserts"])
    def test_it_returns_hashes_that_are_not_written_yet(self, run: Run) -> None:
        run.docstore.set_document_hash("old", "h0")
        with run.docstore.ingestion_run(["a", "b"]) as store:
            store.set_document_hashes({"a": "h1", "old": "h2"})
            store.add_documents([piece("b")])
            assert store.get_document_hashes(["a", "b", "old"]) == {"a": "h1", "b": piece("b").hash, "old": "h2"}
            assert set(store.get_all_document_hashes().values()) == {"a", "b", "old"}
            assert run.docstore.get_document_hash("a") is None
            store.delete_document("b")
            assert store.get_document_hash("b") is None
        assert run.docstore.get_document_hashes(["a", "old"]) == {"a": "h1", "old": "h2"}

    FOLDER = tuple(document(f"d{number:02}") for number in range(20))

    @pytest.mark.parametrize("strategy", ["upserts_and_delete"])
    def test_most_documents_vanish_only_on_purpose(self, run: Run) -> None:
        self.run_once(run, self.FOLDER)
        whole = run.state()
        message = r"would remove 19 of 20 sources \('d01', 'd02', 'd03', \.\.\.\) .*allow_mass_delete=True"
        with pytest.raises(MassDeleteError, match=message):
            self.run_once(run, self.FOLDER[:1])
        with pytest.raises(MassDeleteError, match="would delete 20 of 20 entries and leave 0"):
            self.run_once(run, [])
        with pytest.raises(MassDeleteError, match="would delete 3 of 20 entries and leave 17"):
            self.run_once(run, self.FOLDER[3:], {"max_delete": 0.1})
        assert run.state() == whole, "nothing was deleted from either store"
        self.run_once(run, self.FOLDER[2:], {"max_delete": 0.1})
        self.run_once(run, self.FOLDER[13:], {"max_delete": 0.7})
        self.run_once(run, self.FOLDER[19:])
        assert list(run.docstore.docs) == ["d19"], "fewer than ten vanished"
        self.run_once(run, [document("new")], {"allow_mass_delete": True})
        assert (list(run.docstore.docs), set(run.state()[2])) == (["new"], {"new"})

    @pytest.mark.parametrize("strategy", ["upserts_and_delete"])
    def test_a_share_counts_the_nodes_of_documents(self, run: Run) -> None:
        run.options = {"transformations": [MockEmbedding(embed_dim=2)]}
        nodes: list[Any] = [*(piece(f"long {number}", "long") for number in range(3)), piece("short", "short")]
        self.run_once(run, nodes)
        with pytest.raises(MassDeleteError, match="would delete 3 of 4 entries and leave 1"):
            self.run_once(run, nodes[3:], {"max_delete": 0.5})
        assert len(run.docstore.docs) == 4

    @pytest.mark.parametrize("strategy", ["upserts", "duplicates_only"])
    def test_a_run_that_deletes_nothing_but_what_it_replaces_is_not_guarded(self, run: Run) -> None:
        self.run_once(run, self.FOLDER)
        assert self.run_once(run, [document("d00", "Changed."), document("new")])
        assert len(run.docstore.docs) == 21

    @pytest.mark.parametrize("strategy", ["upserts_and_delete"])
    def test_nodes_that_all_changed_are_an_edit_of_their_documents(self, run: Run) -> None:
        run.options = {"transformations": [MockEmbedding(embed_dim=2)]}
        for text in ("first", "second"):
            nodes = [piece(f"{number}-{text}", f"d{number}", f"{text} {number}") for number in range(12)]
            self.run_once(run, nodes, {"max_delete": 0.0})  # type: ignore[arg-type]
            assert ids(run.docstore.docs.values()) == ids(nodes)

    @pytest.mark.parametrize("strategy", ["upserts_and_delete"])
    def test_the_methods_of_the_framework_are_not_guarded_and_neither_is_a_plain_store(self, run: Run) -> None:
        self.run_once(run, self.FOLDER)
        with run.docstore.ingestion_run([]) as store:
            store.delete_document("d00")
            store.delete_ref_doc("d01", raise_error=False)
        with run.docstore.ingestion_run(["d02"]) as store:
            store.get_all_document_hashes()  # as a pipeline does that deletes what vanished
            for delete in (store.delete_document, store.delete_ref_doc):
                with pytest.raises(MassDeleteError):
                    delete("d03")
            store.delete_document("d02")
        run(self.FOLDER[-1:])
        assert list(run.docstore.docs) == ["d19"]

    @pytest.mark.parametrize("strategy", ["upserts_and_delete"])
    @pytest.mark.parametrize(("share", "error"), [(2, ArgumentValueError), ("half", ArgumentTypeError)])
    def test_a_share_that_cannot_be_is_refused_at_once(self, run: Run, share: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match=r"max_delete=.*give a share from 0 to 1"):
            run.docstore.ingestion_run([], max_delete=share)


def test_a_run_reads_the_hash_of_the_document_that_a_node_belongs_to(docstore: Twin) -> None:
    docstore.set_document_hash("d", "h")
    with docstore.store.ingestion_run([piece("a", "d")]) as run, recorded_statements() as statements:
        assert run.get_document_hash("d") == "h"
    assert statements == []


def test_the_framework_reads_and_writes_hashes_one_by_one(docstore: Twin, mode: str, loop: Loop) -> None:
    """The reason for IngestionRun. If this fails, the framework has learned to read many hashes in one call."""
    documents = [document(str(number)) for number in range(20)]
    for strategy in ("upserts", "duplicates_only"):
        run = Run(docstore.store, strategy, mode, loop)
        docstore.store.shelf.clear()
        counts = []
        for _ in range(2):
            with recorded_statements() as statements:
                run(documents)
            counts.append(len(statements))
        assert max(counts) >= 20


def test_the_store_of_the_framework_fails_where_documents_without_text_are_left_out() -> None:
    run = Run(SimpleDocumentStore(), "upserts_and_delete", "sync", Loop())
    run([document("a"), document("b")], store_doc_text=False)
    with pytest.raises(ValueError, match="not found"):
        run([document("a")], store_doc_text=False)
    run.loop.close()


def test_an_ingestion_run_is_a_document_store(docstore: Twin) -> None:
    assert isinstance(docstore.store.ingestion_run([]), DocShelfDocumentStore)
