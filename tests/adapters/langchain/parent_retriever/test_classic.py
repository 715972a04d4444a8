"""langchain-classic's retrievers and its cache of embeddings on docshelf's stores, in one process and in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.retrievers import MultiVectorRetriever
from langchain_classic.retrievers import ParentDocumentRetriever as ClassicRetriever
from langchain_classic.retrievers.multi_vector import SearchType
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore

import langchain_docshelf
from docshelf import ArgumentValueError, ConfigurationError, MassDeleteError
from langchain_docshelf import DocShelfByteStore, DocShelfStore, PostgresByteStore
from tests.adapters.langchain.retrievers import numbers, sentences, text
from tests.adapters.langchain.twins import Twin, page
from tests.adapters.langchain.vectors import CountingEmbeddings, FileVectors, Vectors
from tests.conftest import Location
from tests.support.face import Loop

# What `create_kv_docstore` can read again: JSON's own types.
FRUITS = [
    page("apple pie.apple tart", "a.md", n=1),
    page("banana split.banana bread", "b.md", tags=["x", {"y": None}]),
    page("cherry cake"),
]
IDS = ["a", "b", "c"]


def in_new_process(task: Callable[[str, Path, Twin], Any], url: str, folder: Path, mode: str) -> Any:
    """The result of a function of this module in a new process."""
    code = f"from {__name__} import print_result, {task.__name__}; print_result({task.__name__})"
    command = [sys.executable, "-W", "error", "-c", code, url, str(folder), mode]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def print_result(task: Callable[[str, Path, Twin], Any]) -> None:
    """Print the result of a function for the arguments of this process."""
    url, folder, mode = sys.argv[1:]
    loop = Loop()
    print(json.dumps(task(url, Path(folder), Twin(None, mode, loop))))
    loop.close()


def under(twin: Twin, of: Any) -> Any:
    """Another object under the mode of a twin."""
    return Twin(of, twin.mode, twin.loop)


def save(vectors: Vectors, folder: Path) -> None:
    """Write vectors where `saved` finds them."""
    (folder / "vectors.json").write_text(json.dumps(vectors.store))


def saved(folder: Path) -> FileVectors:
    return FileVectors(folder / "vectors.json")


def as_json(documents: list[Document]) -> list[Any]:
    return [[document.page_content, document.metadata] for document in documents]


class TestCacheBackedEmbeddings:
    TEXTS = ("one", "two", "one", "", "three", "two", "x" * 5000, "one")
    DISTINCT = 5

    @pytest.fixture
    def model(self) -> CountingEmbeddings:
        return CountingEmbeddings()

    @pytest.mark.parametrize("batch_size", [None, 1, 3])
    def test_a_cached_batch_with_duplicates_is_not_embedded_again(
        self, byte_store: Twin, model: CountingEmbeddings, batch_size: int | None
    ) -> None:
        embeddings = under(byte_store, cached(model, byte_store.of, batch_size=batch_size))
        expected = CountingEmbeddings().embed_documents(list(self.TEXTS))
        assert embeddings.embed_documents(list(self.TEXTS)) == expected
        assert len(byte_store.yield_keys(prefix="counting/")) == self.DISTINCT
        model.take()
        assert embeddings.embed_documents(list(self.TEXTS)) == expected
        assert embeddings.embed_documents([*self.TEXTS, "new", "one"])[:-2] == expected
        assert model.texts == ["new"]

    def test_a_second_process_embeds_nothing(
        self, place: Location, tmp_path: Path, byte_store: Twin, model: CountingEmbeddings
    ) -> None:
        vectors = under(byte_store, cached(model, byte_store.of)).embed_documents(list(self.TEXTS))
        assert in_new_process(embedded_later, place.url, tmp_path, byte_store.mode) == [vectors, []]

    def test_embedded_queries_are_cached_too(self, byte_store: Twin, model: CountingEmbeddings) -> None:
        embeddings = under(byte_store, cached(model, byte_store.of, query_embedding_cache=True))
        vector = embeddings.embed_query("one")
        assert embeddings.embed_query("one") == vector
        assert embeddings.embed_documents(["one"]) == [vector]
        assert model.take() == 0, "its query was embedded, and that vector serves the document too"

    def test_texts_may_be_the_keys_of_the_cache(self, byte_store: Twin, model: CountingEmbeddings) -> None:
        texts = [*self.TEXTS, "NUL \0", "% _"]
        embeddings = under(byte_store, cached(model, byte_store.of, namespace="", key_encoder=str))
        vectors = embeddings.embed_documents(texts)
        model.take()
        assert embeddings.embed_documents(texts) == vectors
        assert model.take() == 0
        assert sorted(byte_store.yield_keys()) == sorted(set(texts))

    async def test_one_object_serves_sync_and_async(
        self, place: Location, opened: Callable[[Any], Any], model: CountingEmbeddings
    ) -> None:
        embeddings = cached(model, opened(DocShelfByteStore(place.url)))
        vectors = embeddings.embed_documents(list(self.TEXTS))
        model.take()
        assert await embeddings.aembed_documents([*self.TEXTS, "async"]) == [*vectors, model.embed_query("async")]
        assert embeddings.embed_documents(["async"]) == [model.embed_query("async")]
        assert model.texts == ["async"]


def cached(model: CountingEmbeddings, store: DocShelfByteStore, **options: Any) -> CacheBackedEmbeddings:
    given = {"namespace": "counting/", "key_encoder": "sha256", **options}
    return CacheBackedEmbeddings.from_bytes_store(model, store, **given)


def embedded_later(url: str, folder: Path, twin: Twin) -> Any:
    model = CountingEmbeddings()
    with DocShelfByteStore(url) as store:
        vectors = under(twin, cached(model, store)).embed_documents(list(TestCacheBackedEmbeddings.TEXTS))
    return [vectors, model.texts]


MANNERS = ("docstore", "byte_store", "spec")


def multi(manner: str, url: str, vectors: Vectors) -> tuple[MultiVectorRetriever, Any]:
    """A retriever whose documents are in a store of ours, and the store."""
    made: Any = MultiVectorRetriever
    options = {"vectorstore": vectors, "search_kwargs": {"k": 2}}
    if manner == "docstore":
        docstore = DocShelfStore(url)
        return made(docstore=docstore, **options), docstore
    store = DocShelfByteStore(url) if manner == "byte_store" else PostgresByteStore(url, "spec")
    return made(byte_store=store, **options), store


def multi_later(url: str, folder: Path, twin: Twin) -> Any:
    answers = []
    for manner in MANNERS:
        retriever, store = multi(manner, url, saved(folder))
        with store:
            found = [as_json(under(twin, retriever).invoke(word)) for word in ("banana", "apple")]
            answers.append([found, as_json(under(twin, retriever.docstore).mget(IDS))])
    return answers


class TestMultiVectorRetriever:
    def test_a_second_process_finds_what_the_retriever_finds(
        self, place: Location, tmp_path: Path, opened: Callable[[Any], Any], twin: Callable[[Any], Twin]
    ) -> None:
        vectors = Vectors()
        for key, fruit in zip(IDS, FRUITS, strict=True):
            summaries = [page(part, doc_id=key) for part in fruit.page_content.split(".")]
            twin(vectors).add_documents(summaries)
        save(vectors, tmp_path)
        for manner in MANNERS:
            retriever, store = multi(manner, place.url, vectors)
            opened(store)
            twin(retriever.docstore).mset(list(zip(IDS, FRUITS, strict=True)))
            assert twin(retriever).invoke("banana") == [FRUITS[1]]
        answer = [[as_json([FRUITS[1]]), as_json([FRUITS[0]])], as_json(FRUITS)]
        assert in_new_process(multi_later, place.url, tmp_path, twin(None).mode) == [answer] * len(MANNERS)

    def test_a_deleted_document_is_not_returned(self, store: Twin) -> None:
        vectors = Vectors()
        store.mset([("a", FRUITS[0]), ("b", FRUITS[1])])
        vectors.add_documents([page("apple", doc_id="a"), page("banana", doc_id="b"), page("none")])
        store.mdelete(["a"])
        retriever = MultiVectorRetriever(vectorstore=vectors, docstore=store.of)
        assert under(store, retriever).invoke("apple") == [FRUITS[1]]

    @pytest.mark.parametrize("search_type", list(SearchType))
    def test_it_searches_in_every_way(self, store: Twin, search_type: SearchType) -> None:
        vectors = Vectors()
        store.mset([("a", FRUITS[0])])
        vectors.add_documents([page("apple", doc_id="a")])
        retriever = MultiVectorRetriever(vectorstore=vectors, docstore=store.of, search_type=search_type)
        assert under(store, retriever).invoke("apple") == [FRUITS[0]]


def classic(docstore: Any, vectors: Vectors, **options: Any) -> ClassicRetriever:
    return ClassicRetriever(vectorstore=vectors, docstore=docstore, child_splitter=sentences(), **options)


def classic_later(url: str, folder: Path, twin: Twin) -> Any:
    with DocShelfStore(url) as store:
        retriever = under(twin, classic(store, saved(folder), search_kwargs={"k": 2}))
        found = [as_json(retriever.invoke(word)) for word in ("banana", "cherry")]
        return [found, [[source.source, source.entries] for source in under(twin, store).sources()]]


class TestParentDocumentRetriever:
    def test_a_second_process_finds_what_add_documents_wrote(
        self, place: Location, tmp_path: Path, store: Twin
    ) -> None:
        vectors = Vectors()
        retriever = under(store, classic(store.of, vectors, search_kwargs={"k": 2}))
        retriever.add_documents(FRUITS)
        assert len(vectors.children) == 5
        assert retriever.invoke("banana") == [FRUITS[1]]
        save(vectors, tmp_path)
        [bananas, cherries], sources = in_new_process(classic_later, place.url, tmp_path, store.mode)
        assert bananas == as_json([FRUITS[1]])
        assert cherries[0] == as_json([FRUITS[2]])[0]
        assert sources == [["", 1], ["a.md", 1], ["b.md", 1]]

    def test_ids_are_the_keys_of_the_parents(self, store: Twin) -> None:
        under(store, classic(store.of, Vectors())).add_documents(FRUITS, ids=IDS)
        assert store.mget(IDS) == FRUITS

    def test_a_parent_splitter_stores_pieces_as_parents(self, store: Twin) -> None:
        parents = sentences(25)
        retriever = under(store, classic(store.of, Vectors(), parent_splitter=parents, search_kwargs={"k": 1}))
        retriever.add_documents([page(text("a", 4), "s")])
        assert len(store.yield_keys()) == 2
        assert retriever.invoke("003") == [page("a part 002.a part 003", "s")]


def synced(twin: Twin, retriever: Any, documents: Any, **options: Any) -> Any:
    """What `sync_parent_documents` or its twin reports."""
    return under(twin, langchain_docshelf).sync_parent_documents(retriever, documents, **options)


def synced_later(url: str, folder: Path, twin: Twin) -> Any:
    with DocShelfStore(url) as store:
        retriever = classic(store, saved(folder), search_kwargs={"k": 1})
        same = synced(twin, retriever, FRUITS)
        changed = synced(twin, retriever, [page("apple juice", "a.md", n=1)])
        found = as_json(under(twin, retriever).invoke("juice"))
        return [numbers(same), numbers(changed), found, len(retriever.vectorstore.store)]  # type: ignore[attr-defined]


class TestSyncParentDocuments:
    @pytest.fixture
    def vectors(self) -> Vectors:
        return Vectors()

    @pytest.fixture
    def retriever(self, store: Twin, vectors: Vectors) -> ClassicRetriever:
        return classic(store.of, vectors, search_kwargs={"k": 1})

    def test_only_what_changed_is_embedded_and_what_is_gone_is_removed(
        self, store: Twin, vectors: Vectors, retriever: ClassicRetriever
    ) -> None:
        documents = [page(text(f"d{number}"), f"{number}.md") for number in range(50)]
        assert numbers(synced(store, retriever, documents)) == (50, 0, 0, 0, 150, 0, 0)
        vectors.counting.take()
        documents[7] = page(text("changed", 2), "7.md")
        assert numbers(synced(store, retriever, documents)) == (1, 0, 49, 1, 2, 147, 3)
        assert vectors.counting.take() == 2
        assert under(store, retriever).invoke("changed part") == [documents[7]]
        assert len(vectors.children) == 149

    def test_a_second_process_embeds_only_what_changed(
        self, place: Location, tmp_path: Path, store: Twin, vectors: Vectors, retriever: ClassicRetriever
    ) -> None:
        assert numbers(synced(store, retriever, FRUITS)) == (3, 0, 0, 0, 5, 0, 0)
        save(vectors, tmp_path)
        same, changed, found, left = in_new_process(synced_later, place.url, tmp_path, store.mode)
        assert same == [0, 0, 3, 0, 0, 5, 0]
        assert changed == [1, 0, 0, 1, 1, 0, 2]
        assert found == [["apple juice", {"source": "a.md", "n": 1}]]
        assert left == 4

    def test_the_settings_of_the_given_retriever_are_used(self, store: Twin, vectors: Vectors) -> None:
        retriever = classic(
            store.of, vectors, parent_splitter=sentences(25), child_metadata_fields=["n"], id_key="parent"
        )
        synced(store, retriever, [page(text("a", 4), "s", n=1, m=2)])
        assert len(store.yield_keys()) == 2
        assert {frozenset(metadata) for _, metadata in vectors.children.values()} == {frozenset({"n", "parent"})}
        assert {metadata["parent"] for _, metadata in vectors.children.values()} == set(store.yield_keys())

    def test_options_are_those_of_the_parent_document_retriever(
        self, store: Twin, vectors: Vectors, retriever: ClassicRetriever
    ) -> None:
        documents = [page(text("a"), "x"), page(text("b"))]
        assert synced(store, retriever, documents, source="s", dry_run=True).dry_run
        assert vectors.children == {}
        synced(store, retriever, documents, source="s", ids=["k", "l"])
        assert store.yield_keys() == ["k", "l"]
        with pytest.raises(ArgumentValueError, match="1 ids"):
            synced(store, retriever, documents, ids=["k"])
        with pytest.raises(MassDeleteError):
            synced(store, retriever, [], source="s")
        other_model = synced(store, retriever, documents, source="s", ids=["k", "l"], embedding_version="other model")
        assert numbers(other_model) == (0, 0, 2, 0, 6, 0, 6)
        synced(store, retriever, [page("new", "t")], scope="collection", embedding_version="other model")
        assert [found for found, _ in vectors.children.values()] == ["new"]
        report = synced(
            store, retriever, [], source="t", allow_mass_delete=True, index="children", embedding_version="other model"
        )
        assert numbers(report) == (0, 0, 0, 1, 0, 0, 1)
        assert vectors.children == {}

    def test_two_vector_stores_on_the_same_documents_use_two_indexes(
        self, store: Twin, vectors: Vectors, retriever: ClassicRetriever
    ) -> None:
        second = Vectors()
        synced(store, retriever, FRUITS)
        whole = {"index": "second", "child_splitter": lambda parent: [parent]}
        assert numbers(synced(store, classic(store.of, second), FRUITS, **whole)) == (0, 0, 3, 0, 3, 0, 0)
        assert numbers(synced(store, retriever, FRUITS)) == (0, 0, 3, 0, 0, 5, 0)

    def test_a_vector_store_that_was_lost_is_filled_again(self, store: Twin, retriever: ClassicRetriever) -> None:
        synced(store, retriever, FRUITS)
        lost = Vectors()
        assert numbers(synced(store, classic(store.of, lost), FRUITS)) == (0, 0, 3, 0, 5, 0, 0)
        assert len(lost.children) == 5

    def test_reindex_adds_a_missing_child_again(
        self, store: Twin, vectors: Vectors, retriever: ClassicRetriever
    ) -> None:
        synced(store, retriever, FRUITS)
        [last] = [child for child, (found, _) in vectors.children.items() if found == "banana bread"]
        vectors.delete([last])
        assert numbers(synced(store, retriever, FRUITS))[4:] == (0, 5, 0), "only some are looked for"
        assert numbers(synced(store, retriever, FRUITS, dry_run=True, reindex=True))[4:] == (5, 0, 0)
        assert numbers(synced(store, retriever, FRUITS, reindex=True))[4:] == (1, 4, 0)
        assert len(vectors.children) == 5

    def test_a_multi_vector_retriever_gets_each_parent_as_its_own_child(self, store: Twin, vectors: Vectors) -> None:
        retriever = MultiVectorRetriever(vectorstore=vectors, docstore=store.of)
        assert numbers(synced(store, retriever, FRUITS)) == (3, 0, 0, 0, 3, 0, 0)
        assert under(store, retriever).invoke("cherry")[0] == FRUITS[2]

    def test_a_multi_vector_retriever_gets_the_children_that_are_made_for_it(
        self, store: Twin, vectors: Vectors
    ) -> None:
        retriever = MultiVectorRetriever(vectorstore=vectors, docstore=store.of)
        made = {"child_splitter": lambda parent: [page("summary"), page("question")]}
        assert numbers(synced(store, retriever, [FRUITS[0]], **made)) == (1, 0, 0, 0, 2, 0, 0)
        assert under(store, retriever).invoke("summary") == [FRUITS[0]]

    @pytest.mark.parametrize("kind", ["InMemoryStore", "EncoderBackedStore", "NoneType"])
    def test_a_docstore_of_another_kind_is_refused(self, byte_store: Twin, vectors: Vectors, kind: str) -> None:
        made: Any = MultiVectorRetriever
        retriever: Any = {
            "InMemoryStore": lambda: classic(InMemoryStore(), vectors),
            "EncoderBackedStore": lambda: made(vectorstore=vectors, byte_store=byte_store.of),
            "NoneType": object,
        }[kind]()
        with pytest.raises(ConfigurationError, match=f"is a {kind}; give it docstore=DocShelfStore"):
            synced(byte_store, retriever, FRUITS)
        assert vectors.children == {}


def test_an_id_in_two_sources_gives_a_warning(store: Twin, recwarn: pytest.WarningsRecorder) -> None:
    retriever = classic(store.of, Vectors())
    first = Document(id="page 0", page_content="Apples", metadata={"source": "fruit.md"})
    synced(store, retriever, [first])
    synced(store, retriever, [first, Document(id="page 1", page_content="Pears", metadata={"source": "fruit.md"})])
    assert not recwarn.list
    with pytest.warns(
        UserWarning, match=r"'page 0' is in 'fruit.md': a retriever of langchain-classic reads by id alone"
    ):
        synced(store, retriever, [Document(id="page 0", page_content="Cars", metadata={"source": "cars.md"})])
