"""Coming from LlamaIndex's own stores: nodes, hashes, documents and indices arrive once and in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.indices.loading import load_index_from_storage
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.node_parser.node_utils import build_nodes_from_splits
from llama_index.core.schema import Document, ImageNode, IndexNode, MediaResource, Node, TextNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.index_store import SimpleIndexStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore

from docshelf import ArgumentTypeError, BadFileError, ConfigurationError, DocShelf, MoveError, UnknownDocument
from docshelf.moving import MoveReport, amigrate, migrate
from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore
from llama_index_docshelf.moving import from_docstore, from_docstore_file, from_index_store, from_kvstore
from tests.adapters.llama_index.twins import Twin, piece
from tests.conftest import Location

Move = Callable[..., MoveReport]
NODES = [
    piece("b0", "b.txt", metadata={"z": 1, "a": 2}),
    piece("a0", "a.txt", metadata={"title": "A"}),
    piece("a1", "a.txt", "last of a", excluded_embed_metadata_keys=["title"]),
    Document(id_="d", text="whole", metadata={"n": [1, {"b": None, "a": 1}]}),
    IndexNode(id_="i", text="an index", index_id="other"),
    ImageNode(id_="image", image="aGVsbG8=", text="caption"),
    Node(id_="node", text_resource=MediaResource(text="a resource")),
    TextNode(id_="odd", text="\0 é \u2028", start_char_idx=0, end_char_idx=4),
]


@pytest.fixture
def move(mode: str) -> Move:
    """`migrate`, sync and async."""
    if mode == "sync":
        return migrate
    return lambda *args, **options: asyncio.run(amigrate(*args, **options))


def filled() -> SimpleDocumentStore:
    store = SimpleDocumentStore()
    store.add_documents(NODES)
    store.add_documents([piece("no text", "c.txt")], store_text=False)
    store.set_document_hash("a.txt", "hash of a")
    return store


def persisted(path: Path) -> Path:
    filled().persist(str(path / "docstore.json"))
    return path


ORIGINS: dict[str, Callable[[Path], Any]] = {
    "SimpleDocumentStore": lambda path: filled(),
    "a persisted folder": persisted,
    "its name": lambda path: str(persisted(path)),
    "a persisted file": lambda path: persisted(path) / "docstore.json",
}


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
def test_a_document_store_answers_as_before(
    new_store: Callable[..., Twin], move: Move, tmp_path: Path, origin: Callable[[Path], Any]
) -> None:
    source, store, old = origin(tmp_path / "old"), new_store(), filled()
    assert move(source, store.store, dry_run=True).counts["INS"] == 10
    assert store.docs == {}
    report = move(source, store.store)
    assert (report.counts, report.compared) == ({"INS": 10, "UPD": 0, "SKIP": 0, "DEL": 0}, True)
    assert {key: node.to_dict() for key, node in store.docs.items()} == {
        key: node.to_dict() for key, node in old.docs.items()
    }
    assert list(store.docs) == list(old.docs)
    assert store.get_all_document_hashes() == old.get_all_document_hashes()
    assert store.get_document_hash("a.txt") == "hash of a"
    infos, before = store.get_all_ref_doc_info(), old.get_all_ref_doc_info()
    assert {key: (info.node_ids, info.metadata) for key, info in infos.items()} == {
        key: (info.node_ids, info.metadata) for key, info in (before or {}).items()
    }
    assert move(source, store.store).counts["SKIP"] == 10
    assert store.conditional_add_documents(NODES).counts["SKIP"] == len(NODES)
    assert store.store.shelf.verify() == []
    store.delete_ref_doc("a.txt")
    assert not {"a0", "a1"} & store.docs.keys()


class Lines(TransformComponent):
    """A splitter that needs no data of its own."""

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        return [made for node in nodes for made in build_nodes_from_splits(node.get_content().splitlines(), node)]


def test_the_next_run_of_a_pipeline_embeds_nothing(new_store: Callable[..., Twin], tmp_path: Path) -> None:
    class Counting(MockEmbedding):
        embedded: int = 0

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            self.embedded += len(texts)
            return super()._get_text_embeddings(texts)

    documents = [Document(text=f"Text {n}.\n" * 3, id_=f"{n}.txt", metadata={"n": n, "a": 1}) for n in range(20)]
    embedding = Counting(embed_dim=4)

    def pipeline(docstore: Any, vectors: Any) -> IngestionPipeline:
        return IngestionPipeline(
            transformations=[Lines(), embedding],
            docstore=docstore,
            vector_store=vectors,
            docstore_strategy=DocstoreStrategy.UPSERTS,
            disable_cache=True,
        )

    old, vectors = SimpleDocumentStore(), SimpleVectorStore()
    pipeline(old, vectors).run(documents=documents)
    assert embedding.embedded == 60
    old.persist(str(tmp_path / "docstore.json"))
    store = new_store()
    migrate(tmp_path, store.store)
    embedding.embedded = 0
    assert pipeline(store.store, vectors).run(documents=documents) == []
    assert embedding.embedded == 0
    documents[3].set_content("Another text.")
    assert len(pipeline(store.store, vectors).run(documents=documents)) == 1


def test_an_index_is_loaded_again(place: Location, opened: Callable[[Any], Any], move: Move, tmp_path: Path) -> None:
    texts = [Document(text=f"Text {n}.", id_=f"{n}.txt") for n in range(3)]
    old = VectorStoreIndex.from_documents(texts, embed_model=MockEmbedding(embed_dim=4))
    old.storage_context.persist(str(tmp_path / "storage"))
    docstore = opened(DocShelfDocumentStore(place.url))
    index_store = opened(DocShelfIndexStore(place.url))
    move(tmp_path / "storage", docstore)
    assert move(tmp_path / "storage", index_store).counts["INS"] == 1
    assert move(old.storage_context.index_store, index_store).counts["SKIP"] == 1
    vectors = SimpleVectorStore.from_persist_dir(str(tmp_path / "storage"))
    context = StorageContext.from_defaults(docstore=docstore, index_store=index_store, vector_store=vectors)
    loaded = load_index_from_storage(context, embed_model=MockEmbedding(embed_dim=4))
    assert loaded.index_struct.to_dict() == old.index_struct.to_dict()
    assert len(loaded.as_retriever(similarity_top_k=3).retrieve("Text")) == 3


def test_a_cache_keeps_its_nodes_and_the_order_of_their_metadata(
    place: Location, opened: Callable[[Any], Any], move: Move
) -> None:
    old = SimpleKVStore()
    cache = IngestionCache(cache=old, collection="cache")
    cache.put("k", NODES)
    old.put("other", {"b": 1, "a": 2})
    store = opened(DocShelfKVStore(place.url))
    assert move(old, store, collection="cache").counts["INS"] == 1
    assert move(old, store).counts["INS"] == 1
    assert move(old, store, collection="cache").counts["SKIP"] == 1
    assert list(store.get("other")) == ["b", "a"]
    moved = IngestionCache(cache=store, collection="cache").get("k")
    assert [node.to_dict() for node in moved or []] == [node.to_dict() for node in NODES]
    assert move(old, opened(DocShelfKVStore(place.url, "nothing")), collection="no").entries == 0


def test_a_plain_shelf_keeps_nodes_as_nodes(place: Location, move: Move, opened: Callable[[Any], Any]) -> None:
    with DocShelf(place.url, "docstore") as shelf:
        move(from_docstore(filled()), shelf)
        node = shelf.get("a0")
        assert type(node) is UnknownDocument
        assert (node.content_type, node["text"]) == ("llama-index/node", "text of a0")
        assert opened(DocShelfDocumentStore(place.url)).get_node("a0").to_dict() == NODES[1].to_dict()
        if move is not migrate:
            asyncio.run(shelf.aclose())


def test_old_forms_are_read(new_store: Callable[..., Twin], move: Move, tmp_path: Path) -> None:
    data = {
        "docstore/data": {
            "legacy": {
                "__type__": "1",
                "__data__": {"text": "t", "extra_info": {"a": 1}, "doc_id": "legacy", "relationships": {"1": "doc"}},
            },
            "as text": {"__type__": "1", "__data__": json.dumps(TextNode(id_="as text", text="u").to_dict())},
        }
    }
    (tmp_path / "docstore.json").write_text(json.dumps(data))
    store = new_store()
    move(tmp_path, store.store)
    legacy, text = store.get_nodes(["legacy", "as text"])
    assert (legacy.get_content(), legacy.metadata, legacy.ref_doc_id) == ("t", {"a": 1}, "doc")
    assert (text.get_content(), store.get_document_hash("as text")) == ("u", text.hash)


class TestRefusals:
    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("text", "TypeError: a str where the JSON of a node belongs"),
            ({"__type__": "1"}, "KeyError"),
            ({"__type__": "99", "__data__": {}}, "Unknown doc type: 99"),
            ({"__type__": "1", "__data__": {"text": 7, "metadata": 7}}, "ValidationError"),
            ({"__type__": "1", "__data__": "{"}, "JSONDecodeError"),
        ],
        ids=str,
    )
    def test_what_is_no_node_is_refused_by_name(
        self, new_store: Callable[..., Twin], move: Move, tmp_path: Path, value: Any, told: str
    ) -> None:
        good = {"__type__": "1", "__data__": NODES[0].to_dict()}
        (tmp_path / "docstore.json").write_text(json.dumps({"docstore/data": {"b0": good, "bad": value}}))
        store = new_store()
        with pytest.raises(MoveError, match=told):
            move(tmp_path, store.store)
        report = move(tmp_path, store.store, on_refused="skip")
        assert (report.refused, report.problems[0].key, list(store.docs)) == (1, "bad", ["b0"])

    @pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
    def test_nothing_is_written_of_a_file_that_was_cut_short(
        self, new_store: Callable[..., Twin], move: Move, tmp_path: Path, cut: float
    ) -> None:
        file = persisted(tmp_path) / "docstore.json"
        whole = file.read_bytes()
        file.write_bytes(whole[: int(len(whole) * cut)])
        store = new_store()
        with pytest.raises(BadFileError, match=r"docstore\.json' is no file of this kind: .*cut short"):
            move(tmp_path, store.store)
        assert store.store.shelf.count() == 0

    def test_what_is_no_store_is_told(self, new_store: Callable[..., Twin], move: Move, tmp_path: Path) -> None:
        store = new_store()
        for make in (from_docstore, from_index_store, from_kvstore):
            with pytest.raises(ArgumentTypeError, match="a dict is no"):
                make({})
        with pytest.raises(ConfigurationError, match="there is no file"):
            from_docstore_file(tmp_path)
        with pytest.raises(ConfigurationError, match="there is no file"):
            move(tmp_path, store.store)
        with pytest.raises(ConfigurationError, match="is no source that this target knows"):
            move(SimpleIndexStore(), store.store)

    def test_an_index_struct_and_a_dict_are_checked_too(
        self, place: Location, opened: Callable[[Any], Any], move: Move, tmp_path: Path
    ) -> None:
        (tmp_path / "index_store.json").write_text(json.dumps({"index_store/data": {"bad": {"__type__": "no"}}}))
        with pytest.raises(MoveError, match="no index struct of LlamaIndex"):
            move(tmp_path, opened(DocShelfIndexStore(place.url)))
        odd: Any = SimpleKVStore({"data": {"k": "text"}})  # type: ignore[dict-item]
        with pytest.raises(MoveError, match="a str where a dict belongs"):
            move(odd, opened(DocShelfKVStore(place.url)))
