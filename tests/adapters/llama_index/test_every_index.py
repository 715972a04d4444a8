"""Every index class of llama-index-core, on docshelf's storage context and on LlamaIndex's own: the same outcomes."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_index.core.indices
import pytest
from llama_index.core import (
    DocumentSummaryIndex,
    Settings,
    SQLDatabase,
    StorageContext,
    SummaryIndex,
    TreeIndex,
    VectorStoreIndex,
    load_graph_from_storage,
    load_index_from_storage,
)
from llama_index.core.composability import ComposableGraph
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.embeddings.mock_embed_model import MockMultiModalEmbedding
from llama_index.core.graph_stores.types import EntityNode, Relation
from llama_index.core.indices.base import BaseIndex
from llama_index.core.indices.empty import EmptyIndex
from llama_index.core.indices.keyword_table import (
    KeywordTableIndex,
    RAKEKeywordTableIndex,
    SimpleKeywordTableIndex,
    rake_base,
    retrievers,
)
from llama_index.core.indices.keyword_table.utils import simple_extract_keywords
from llama_index.core.indices.knowledge_graph import KnowledgeGraphIndex
from llama_index.core.indices.multi_modal import MultiModalVectorStoreIndex
from llama_index.core.indices.property_graph import PropertyGraphIndex
from llama_index.core.indices.struct_store.sql import SQLStructStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, ImageDocument, IndexNode, TextNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.vector_stores import SimpleVectorStore
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from llama_index_docshelf import storage_context
from tests.conftest import Location
from tests.support.face import Loop

EMBED = MockEmbedding(embed_dim=2)
# Ids of chunks that are the same in every run.
SPLITTER = SentenceSplitter(chunk_size=40, chunk_overlap=0, id_func=lambda number, document: f"{document.id_}-{number}")


class Extractor(TransformComponent):
    """Leaves an entity and a relation in the metadata of each node, as the extractors of property graphs do."""

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> Sequence[BaseNode]:
        for node in nodes:
            name = f"entity of {node.node_id}"
            node.metadata["nodes"] = [EntityNode(name=name), EntityNode(name="all")]
            node.metadata["relations"] = [Relation(label="part of", source_id=name, target_id="all")]
        return nodes


class NoExtractor(TransformComponent):
    """Leaves nodes as they are."""

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> Sequence[BaseNode]:
        return nodes


def document(name: str, text: str = "") -> Document:
    sentences = " ".join(f"Sentence {number} of {name} {text} is here." for number in range(9))
    return Document(id_=name, text=sentences, metadata={"title": f"About {name}", "author": "A"})


def database() -> SQLDatabase:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE facts (name TEXT)")
    return SQLDatabase(engine)


@dataclass(frozen=True)
class Case:
    """An index class and what it needs.

    Attributes:
        options: makes the arguments of its constructor.
        retriever: the arguments of `as_retriever`.
        use_async: its constructor takes `use_async`, and then calls the async methods of the stores.
        documents: documents that only this class takes.
    """

    kind: type[BaseIndex[Any]]
    options: Callable[[], dict[str, Any]] = dict
    retriever: dict[str, Any] = field(default_factory=dict)
    use_async: bool = False
    documents: tuple[Document, ...] = ()


# Equal embeddings come in a random order: take all.
ALL = {"similarity_top_k": 100}
CASES = {
    case.kind.__name__: case
    for case in (
        Case(VectorStoreIndex, lambda: {"embed_model": EMBED}, ALL, use_async=True),
        Case(SummaryIndex),
        Case(TreeIndex, lambda: {"num_children": 2}, use_async=True),
        Case(SimpleKeywordTableIndex, use_async=True),
        Case(RAKEKeywordTableIndex, use_async=True),
        Case(KeywordTableIndex, use_async=True),
        Case(
            KnowledgeGraphIndex,
            lambda: {"kg_triplet_extract_fn": lambda text: [("all", "say", text[:30])], "embed_model": EMBED},
        ),
        Case(
            PropertyGraphIndex, lambda: {"kg_extractors": [Extractor()], "use_async": False, "embed_model": EMBED}, ALL
        ),
        Case(DocumentSummaryIndex, lambda: {"embed_model": EMBED}, ALL),
        Case(EmptyIndex),
        Case(
            MultiModalVectorStoreIndex,
            lambda: {"embed_model": EMBED, "image_embed_model": MockMultiModalEmbedding(embed_dim=2)},
            {"similarity_top_k": 100, "image_similarity_top_k": 100},
            use_async=True,
            documents=(ImageDocument(id_="picture", image=b"\x89PNG\r\n\x1a\n" + bytes(40), text="A cat."),),
        ),
        Case(
            SQLStructStoreIndex,
            lambda: {"sql_database": database(), "table_name": "facts", "output_parser": lambda _: {"name": "x"}},
        ),
    )
}


class MendedDocumentStore(SimpleDocumentStore):
    """LlamaIndex's own store without two of the faults that the guide lists."""

    async def adelete_document(self, doc_id: str, raise_error: bool = True) -> None:
        self.delete_document(doc_id, raise_error)  # its async half leaves the id with the document

    def get_ref_doc_info(self, ref_doc_id: str) -> RefDocInfo | None:
        # Deleting a node takes its id out of the list that was returned: a loop over it leaves out every other node.
        return copy.deepcopy(super().get_ref_doc_info(ref_doc_id))


class Story:
    """What happens to an index, step by step. The outcome of a step is what it returned, or its error."""

    def __init__(self, case: Case, context: StorageContext, mode: str, loop: Loop) -> None:
        self.case, self.context, self.mode, self.loop = case, context, mode, loop
        self.outcomes: list[tuple[str, Any]] = []
        self.index: Any = None

    def step(self, name: str, run: Callable[[], Any]) -> None:
        try:
            outcome = run()
        except (NotImplementedError, ValueError) as exc:
            outcome = type(exc).__name__
        self.outcomes.append((name, outcome))

    def call(self, target: Any, method: str, *args: Any, **options: Any) -> Any:
        if self.mode == "sync":
            return getattr(target, method)(*args, **options)
        return self.loop.run(getattr(target, f"a{method}")(*args, **options))

    def build(self) -> None:
        options = {"storage_context": self.context, "transformations": [SPLITTER], **self.case.options()}
        if self.case.use_async:
            options["use_async"] = self.mode == "async"
        if self.case.kind is EmptyIndex:
            self.index = EmptyIndex(**options)
        else:
            self.index = self.case.kind.from_documents([document("a"), document("b"), *self.case.documents], **options)
        self.index.set_index_id("index")
        self.look()

    def change(self) -> None:
        """Insert, refresh, update and delete."""
        refreshed = [document("a"), document("b", "changed"), document("d")]
        self.step("insert", lambda: self.call(self.index, "insert", document("c")))
        self.step("refresh", lambda: self.call(self.index, "refresh_ref_docs", refreshed))
        self.step("refresh again", lambda: self.call(self.index, "refresh_ref_docs", refreshed))
        self.step("update", lambda: self.call(self.index, "update_ref_doc", document("c", "new")))
        self.step("delete", lambda: self.call(self.index, "delete_ref_doc", "a", delete_from_docstore=True))
        self.step("delete from the index", lambda: self.call(self.index, "delete_ref_doc", "d"))
        self.step("delete a node", lambda: self.call(self.index, "delete_nodes", ["c-1"], delete_from_docstore=True))
        self.look()

    def look(self) -> None:
        """What the index answers and the stores hold. Ids are random where an index makes nodes itself."""
        docstore = self.context.docstore
        self.step("texts", lambda: sorted(found.text for found in self.call(self.retriever(), "retrieve", "Sentence")))
        self.step(
            "documents", lambda: {name: (len(i.node_ids), i.metadata) for name, i in self.index.ref_doc_info.items()}
        )
        self.step(
            "nodes", lambda: sorted((node.get_content(), node.ref_doc_id or "") for node in docstore.docs.values())
        )
        self.step("hashes", lambda: {name: docstore.get_document_hash(name) for name in "abcde"})
        self.step("struct", lambda: self.context.index_store.get_index_struct("index") == self.index.index_struct)

    def retriever(self) -> Any:
        return self.index.as_retriever(**self.case.retriever)

    def reload(self, context: StorageContext) -> None:
        """Open the index again on another context, and insert."""
        self.context = context
        options = {"transformations": [SPLITTER], **self.case.options()}
        self.index = load_index_from_storage(context, index_id="index", **options)
        self.look()
        self.step("insert again", lambda: self.call(self.index, "insert", document("e")))
        self.look()


def outcomes_of(story: Story, folder: Path, reopened: Callable[[], StorageContext]) -> list[tuple[str, Any]]:
    story.build()
    story.change()
    story.context.persist(str(folder))
    story.reload(reopened())
    return story.outcomes


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that need no network; keywords as RAKE's package, which is not needed here, might find them."""
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    monkeypatch.setattr(Settings, "_embed_model", EMBED)
    for module in (rake_base, retrievers):
        monkeypatch.setattr(module, "rake_extract_keywords", simple_extract_keywords)


@pytest.fixture(scope="module")
def expected() -> dict[tuple[str, str], list[tuple[str, Any]]]:
    """The outcomes on LlamaIndex's own stores, by index class and mode."""
    return {}


# KnowledgeGraphIndex and SQLStructStoreIndex are deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_an_index_does_what_it_does_on_the_stores_of_the_framework(
    name: str,
    place: Location,
    mode: str,
    loop: Loop,
    tmp_path: Path,
    opened: Callable[[Any], Any],
    expected: dict[tuple[str, str], list[tuple[str, Any]]],
) -> None:
    case = CASES[name]
    if (name, mode) not in expected:
        own = StorageContext.from_defaults(docstore=MendedDocumentStore())
        story = Story(case, own, mode, loop)
        folder = tmp_path / "own"

        def reopened() -> StorageContext:
            docstore = MendedDocumentStore.from_persist_dir(str(folder))
            return StorageContext.from_defaults(docstore=docstore, persist_dir=str(folder))

        expected[name, mode] = outcomes_of(story, folder, reopened)
    first = storage_context(place.url)
    folder = tmp_path / "docshelf"
    story = Story(case, first, mode, loop)
    found = outcomes_of(story, folder, lambda: storage_context(place.url, persist_dir=str(folder)))
    for context in (first, story.context):
        opened(context.docstore)
    assert found == expected[name, mode]
    assert ("struct", True) in found


def test_every_index_class_of_the_framework_is_tested() -> None:
    for module in pkgutil.walk_packages(llama_index.core.indices.__path__, "llama_index.core.indices."):
        importlib.import_module(module.name)

    def below(kind: type) -> set[type]:
        subclasses: list[type] = kind.__subclasses__()
        return {kind}.union(*map(below, subclasses))

    classes = {kind.__name__ for kind in below(BaseIndex) if kind.__module__.startswith("llama_index.core")}
    abstract = {kind.__name__ for kind in below(BaseIndex) if inspect.isabstract(kind)}
    assert classes - abstract == CASES.keys()


@pytest.fixture
def context(place: Location, opened: Callable[[Any], Any]) -> StorageContext:
    context = storage_context(place.url)
    opened(context.docstore)
    return context


def graph_nodes() -> list[BaseNode]:
    """Nodes with extracted entities and relations, as `PropertyGraphIndex.insert_nodes` takes them."""
    return list(Extractor()([TextNode(id_="n1", text="one"), TextNode(id_="n2", text="two")]))


def test_a_property_graph_takes_nodes_whose_entities_are_extracted(
    context: StorageContext, mode: str, loop: Loop, place: Location, tmp_path: Path, opened: Callable[[Any], Any]
) -> None:
    options: dict[str, Any] = {"kg_extractors": [NoExtractor()], "use_async": False, "embed_model": EMBED}
    index = PropertyGraphIndex(nodes=[], storage_context=context, **options)
    own = PropertyGraphIndex(nodes=[], **options)
    for one in (index, own):
        if mode == "sync":
            one.insert_nodes(graph_nodes())
        else:
            loop.run(one.ainsert_nodes(graph_nodes()))
    assert context.docstore.docs == own.docstore.docs
    assert context.docstore.docs["n1"].metadata["nodes"][0]["name"] == "entity of n1"
    context.persist(str(tmp_path))
    again = storage_context(place.url, persist_dir=str(tmp_path))
    opened(again.docstore)
    loaded: Any = load_index_from_storage(again, **options)
    triplets = {str(triplet) for triplet in index.property_graph_store.get_triplets(entity_names=["all"])}
    assert {str(triplet) for triplet in loaded.property_graph_store.get_triplets(entity_names=["all"])} == triplets
    assert len(triplets) == 2


def test_a_composable_graph_is_built_and_loaded(
    context: StorageContext, place: Location, tmp_path: Path, opened: Callable[[Any], Any]
) -> None:
    children = [
        SummaryIndex.from_documents([document(name)], storage_context=context, transformations=[SPLITTER])
        for name in "ab"
    ]
    graph = ComposableGraph.from_indices(SummaryIndex, children, ["about a", "about b"], storage_context=context)
    answer = str(graph.as_query_engine(llm=MockLLM()).query("Sentence"))
    context.persist(str(tmp_path))
    again = storage_context(place.url, persist_dir=str(tmp_path))
    opened(again.docstore)
    loaded = load_graph_from_storage(again, graph.root_id)
    assert set(loaded.all_indices) == set(graph.all_indices)
    assert str(loaded.as_query_engine(llm=MockLLM()).query("Sentence")) == answer


def test_an_index_with_a_vector_store_that_keeps_text_stores_nodes_on_request(
    place: Location, mode: str, loop: Loop, opened: Callable[[Any], Any]
) -> None:
    class TextVectorStore(SimpleVectorStore):
        stores_text: bool = True

    context = storage_context(place.url, vector_store=TextVectorStore())
    opened(context.docstore)
    index = VectorStoreIndex.from_documents(
        [document("a")],
        storage_context=context,
        transformations=[SPLITTER],
        embed_model=EMBED,
        store_nodes_override=True,
        use_async=mode == "async",
    )
    assert sorted(context.docstore.docs) == ["a-0", "a-1", "a-2"]
    if mode == "sync":
        index.delete_ref_doc("a", delete_from_docstore=True)
    else:
        loop.run(index.adelete_ref_doc("a", delete_from_docstore=True))
    assert context.docstore.docs == {}
    assert index.index_struct.nodes_dict == {}


def test_objects_behind_index_nodes_are_retrieved(context: StorageContext, mode: str, loop: Loop) -> None:
    inner = SummaryIndex([TextNode(id_="inner", text="found inside")], storage_context=context)
    outer = VectorStoreIndex(
        objects=[IndexNode(index_id="inner", text="points inside", obj=inner.as_retriever())],
        storage_context=context,
        embed_model=EMBED,
    )
    retriever = outer.as_retriever()
    found = retriever.retrieve("any") if mode == "sync" else loop.run(retriever.aretrieve("any"))
    assert [one.text for one in found] == ["found inside"]
    kept = context.docstore.docs[next(iter(outer.index_struct.nodes_dict.values()))]
    assert isinstance(kept, IndexNode)
    assert kept.obj is None
