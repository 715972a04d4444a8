"""Nodes of every class come back equal; rows that are no nodes of ours build nothing."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from llama_index.core.bridge.pydantic import AnyUrl, BaseModel
from llama_index.core.graph_stores.types import ChunkNode, EntityNode, Relation
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from sqlalchemy import create_engine, text

from docshelf import ConfigurationError, CorruptEntryError, CorruptEntryWarning, DocShelf, UnsupportedValueError
from llama_index_docshelf import DocShelfDocumentStore, node_content_types
from tests.adapters.llama_index.twins import Twin, piece
from tests.conftest import Location

ODD_TEXT = "a NUL \0, a lone surrogate \ud800, an emoji \U0001f600, a tag {'$str': 1}"
ODD_METADATA = {
    "inf": math.inf,
    "when": datetime(2024, 1, 2, tzinfo=timezone.utc),
    "bytes": b"\0\xff",
    "tuple": (1, {"set": {1, 2}}),
    "big": 2**80,
    "$dict": "not a tag",
    "nul": "\0",
    "surrogate": "\udfff",
    "nested": {"z": 1, "a": [{"y": 1, "b": 2}, ({"x": 1, "c": 2},)]},
}
RELATIONSHIPS = {
    NodeRelationship.SOURCE: RelatedNodeInfo(
        node_id="d", node_type=ObjectType.DOCUMENT, metadata={"file": "f.txt", "n": 1}, hash="h"
    ),
    NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="p", node_type=ObjectType.TEXT),
    NodeRelationship.NEXT: RelatedNodeInfo(node_id="n", node_type="a type of the caller's"),
    NodeRelationship.PARENT: RelatedNodeInfo(node_id="parent"),
    NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2", metadata={"x": (1,)})],
}
COMMON: dict[str, Any] = {
    "id_": "node",
    "embedding": [0.5, -1.0, math.inf],
    "metadata": ODD_METADATA,
    "excluded_embed_metadata_keys": ["inf"],
    "excluded_llm_metadata_keys": ["nul"],
    "relationships": RELATIONSHIPS,
    "metadata_template": "{key}={value}",
    "metadata_separator": " | ",
    "text_template": "{content}",
}
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40))


class Invoice(TextNode):
    """A node class of the caller, with the class name of its base."""

    amount: int = 0
    lines: tuple[str, ...] = ()


class Letter(Node):
    """A node class of the caller, with a class name of its own."""

    sender: str = ""

    @classmethod
    def class_name(cls) -> str:
        return "Letter"


class Tool(BaseModel):
    """A model that is not a node."""

    name: str


def mutated() -> TextNode:
    node = TextNode(id_="node", text="t")
    node.metadata[1] = "a key that is no text"  # type: ignore[index]
    return node


def unguessed() -> ImageNode:
    node = ImageNode(id_="node", image_path="/pictures/cat.png")
    node.image_mimetype = None
    return node


NODES: dict[str, BaseNode] = {
    "TextNode, every field": TextNode(text=ODD_TEXT, mimetype="text/x", start_char_idx=1, end_char_idx=2, **COMMON),
    "TextNode, no field": TextNode(id_="node"),
    "TextNode, changed in place": mutated(),
    "IndexNode, no object": IndexNode(index_id="i", text="t", **COMMON),
    "IndexNode of a node": IndexNode(id_="node", index_id="i", obj=Document(id_="x", text="t", metadata={"t": (1,)})),
    "IndexNode of an IndexNode": IndexNode(
        id_="node", index_id="i", obj=IndexNode(index_id="j", obj=TextNode(id_="x", text="t"))
    ),
    "IndexNode of plain values": IndexNode(id_="node", index_id="i", obj={"a": [1, "x", None]}),
    "IndexNode of text": IndexNode(id_="node", index_id="i", obj="text"),
    "ImageNode": ImageNode(image=PICTURE.decode(), text="t", text_embedding=[1.0], **COMMON),
    "ImageNode of a path": ImageNode(id_="node", image_path="/pictures/cat.png"),
    "ImageNode without its mimetype": unguessed(),
    "Document": Document(text="t\0", **COMMON),
    "Document, no text": Document(id_="node"),
    "Document, empty text": Document(id_="node", text_resource=MediaResource(text="")),
    "Document with a lone surrogate": Document(id_="node", text="\ud800"),
    "ImageDocument": ImageDocument(id_="node", image=PICTURE, text="t", image_mimetype="image/png"),
    "Node, no resource": Node(id_="node"),
    "Node, every resource": Node(
        text_resource=MediaResource(text="t", embeddings={"dense": [1.0], "sparse": [0.0]}, mimetype="text/plain"),
        image_resource=MediaResource(data=PICTURE),
        audio_resource=MediaResource(url=AnyUrl("https://example.org/a.mp3?x=1")),
        video_resource=MediaResource(path=Path("/films/cat.mp4"), text="a cat"),
        **COMMON,
    ),
    "a class of the caller's": Invoice(id_="node", text="t", amount=3, lines=("x",)),
    "a class with a name of its own": Letter(id_="node", text_resource=MediaResource(text="t"), sender="me"),
}


def test_metadata_keeps_the_order_that_hash_and_prompt_depend_on(docstore: Twin) -> None:
    node = piece("a", metadata={"b": 1, "a": {"d": [{"f": 1, "e": 2}], "c": 2}, "ä": 1, "$x": 2, "A": 3})
    docstore.add_documents([node])
    back = docstore.get_node("a")
    assert str(back.metadata) == str(node.metadata)
    assert back.hash == node.hash
    assert back.get_content(MetadataMode.ALL) == node.get_content(MetadataMode.ALL)


def test_another_order_of_metadata_is_a_change(docstore: Twin) -> None:
    docstore.add_documents([piece("a", metadata={"x": 1, "y": 2})])
    report = docstore.conditional_add_documents([piece("a", metadata={"y": 2, "x": 1})])
    assert report.counts["UPD"] == 1


@pytest.mark.parametrize("name", NODES)
def test_a_node_comes_back_equal_and_is_not_written_twice(new_store: Callable[..., Twin], name: str) -> None:
    node = NODES[name]
    store = new_store(node_classes=[Invoice, Letter])
    assert store.conditional_add_documents([node]).counts["INS"] == 1
    back = store.get_node("node")
    assert back == node
    assert type(back) is type(node)
    assert list(back.metadata) == list(node.metadata)
    assert store.conditional_add_documents([back]).counts["SKIP"] == 1


def test_every_node_class_of_the_framework_is_tested() -> None:
    def below(cls: type) -> set[type]:
        subclasses: list[type] = cls.__subclasses__()
        return {cls}.union(*(below(subclass) for subclass in subclasses))

    ours = {cls for cls in below(BaseNode) if cls.__module__ == "llama_index.core.schema"}
    assert ours - {BaseNode} <= {type(node) for node in NODES.values()}


def node_of_graph() -> TextNode:
    """A node as the extractors of property graphs leave it."""
    return piece(
        "a",
        "d",
        metadata={
            "title": "T",
            "nodes": [EntityNode(name="Ada", properties={"z": 1, "a": (1, 2)}), ChunkNode(text="a chunk")],
            "relations": [Relation(label="knows", source_id="Ada", target_id="Bob")],
            "deep": {"tuple": (EntityNode(name="Bob", embedding=[0.5]),)},
            "node": Document(id_="x", text="t", relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="s")}),
        },
    )


def test_models_of_the_framework_come_back_as_from_its_own_store(docstore: Twin) -> None:
    own = SimpleDocumentStore()
    for store in (own, docstore):
        store.add_documents([node_of_graph()])
    back = docstore.get_node("a")
    assert back == own.get_node("a")
    assert back.metadata["nodes"][0] == {"label": "entity", "embedding": None, "properties": ANY, "name": "Ada"}
    assert list(back.metadata) == ["title", "nodes", "relations", "deep", "node"]
    assert list(back.metadata["nodes"][0]) == ["label", "embedding", "properties", "name"]
    assert docstore.get_ref_doc_info("d").metadata == back.metadata
    assert docstore.get_document_hash("a") == own.get_document_hash("a") == node_of_graph().hash
    assert docstore.conditional_add_documents([node_of_graph()]).counts["SKIP"] == 1


def test_models_of_the_framework_are_stored_in_relationships_and_by_sync(docstore: Twin) -> None:
    node = piece("b", "d")
    node.relationships[NodeRelationship.PREVIOUS] = node_of_graph().as_related_node_info()
    docstore.sync([node], ref_doc_id="d", metadata={"found": EntityNode(name="Ada")})
    assert docstore.get_node("b").prev_node.metadata["relations"][0]["label"] == "knows"
    assert docstore.get_ref_doc_info("d").metadata["found"]["name"] == "Ada"


class City(EntityNode):
    """A model of the caller's, derived from one of the framework's."""

    country: str = ""


def test_models_of_the_caller_are_refused_even_if_derived_from_the_framework(docstore: Twin) -> None:
    bad = piece("a", metadata={"nodes": [City(name="Paris", country="France")]})
    with pytest.raises(UnsupportedValueError, match=r"key 'a': metadata\.nodes\[0\]: cannot store a City"):
        docstore.add_documents([bad])
    assert docstore.docs == {}


def test_no_row_names_the_class_of_a_model(new_location: Callable[[str], Location]) -> None:
    place = new_location("sqlite")
    with DocShelfDocumentStore(place.url, compression=None) as store:
        store.add_documents([node_of_graph()])
    engine = create_engine(place.sync_url)
    with engine.connect() as connection:
        [value] = connection.execute(text("SELECT value FROM docshelf_entries")).one()
    engine.dispose()
    assert b"Ada" in value
    assert b"EntityNode" not in value
    assert b"llama_index" not in value


def test_nan_comes_back_as_nan(docstore: Twin) -> None:
    docstore.add_documents([TextNode(id_="a", metadata={"x": math.nan}, embedding=[math.nan])])
    node = docstore.get_node("a")
    assert math.isnan(node.metadata["x"])
    assert math.isnan(node.embedding[0])


def test_the_bytes_of_a_picture_survive(docstore: Twin) -> None:
    docstore.add_documents([NODES["ImageDocument"]])
    assert docstore.get_node("node").resolve_image().read() == base64.b64decode(PICTURE)


def test_the_data_of_a_model_that_is_not_a_node_comes_back_as_text(docstore: Twin) -> None:
    docstore.add_documents([IndexNode(id_="a", index_id="i", obj=Tool(name="x"))])
    assert docstore.get_node("a").obj.text == "{'name': 'x'}"


def test_a_node_of_an_unknown_class_is_refused_when_written(docstore: Twin) -> None:
    with pytest.raises(UnsupportedValueError, match=r"node 'node': the class Invoice .* node_classes=\[Invoice\]"):
        docstore.add_documents([piece("other"), NODES["a class of the caller's"]])
    assert docstore.docs == {}


def test_without_text_metadata_that_cannot_be_stored_is_refused_too(docstore: Twin) -> None:
    bad = piece("b", "d", metadata={"loc": Tool(name="x")})
    with pytest.raises(TypeError, match=r"metadata of the source 'd': loc: cannot store a Tool"):
        docstore.add_documents([bad], store_text=False)
    assert docstore.get_all_document_hashes() == {}


@pytest.mark.parametrize("document", [None, "d"])
def test_an_error_names_the_value_that_cannot_be_stored_and_nothing_is_written(
    docstore: Twin, document: str | None
) -> None:
    bad = piece("b", document, metadata={"pages": [1, {"loc": Tool(name="x")}]})
    with pytest.raises(UnsupportedValueError, match=r"key 'b': metadata\.pages\[1\]\.loc: cannot store a Tool"):
        docstore.add_documents([piece("a"), bad])
    assert docstore.docs == {}


def test_add_documents_refuses_other_types(docstore: Twin) -> None:
    with pytest.raises(TypeError, match="document 1 is a str; give nodes"):
        docstore.add_documents([piece("a"), "text"])


class HasId(TextNode):
    id: str = ""


@pytest.mark.parametrize("given", [[str], [HasId], [Letter, type("Letter", (Letter,), {})]])
def test_node_classes_with_ambiguous_names_are_refused(given: list[Any]) -> None:
    with pytest.raises(ConfigurationError):
        node_content_types(given)


def write_row(place: Location, value: dict[str, Any]) -> None:
    """Write a row as an attacker with access to the table might: intact, but its content is not a node."""
    from docshelf import ContentType

    class Forged(dict[str, Any]):
        pass

    forge = ContentType("llama-index/node", (Forged,), dict, lambda content: content)
    with DocShelf(place.url, "docstore", content_types=[forge]) as shelf:
        shelf.set("a", Forged(value))


STORED = {
    "id": "a",
    "class_name": "TextNode",
    "text": "t",
    "metadata": {},
    "relationships": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"class_name": "llama_index.core.schema.TextNode"},
        {"class_name": "os.system"},
        {"class_name": ["TextNode"]},
        {"class_name": "IndexNode"},
        {"text": 1},
        {"metadata": {"a": 1, "b": 2}, "metadata_order": [[[], ["a"]]]},
        {"metadata": {"a": 1}, "metadata_order": [[["gone"], ["a"]]]},
        {"metadata": "x"},
        {"relationships": {"SOURCE": "d"}},
        {"relationships": {"OTHER": {}}},
    ],
    ids=str,
)
def test_a_row_that_is_not_a_node_is_reported_by_its_key(place: Location, change: dict[str, Any]) -> None:
    write_row(place, {**STORED, **change})
    with DocShelfDocumentStore(place.url) as store:
        with pytest.raises(CorruptEntryError, match=r"key 'a'.*not a llama-index/node"):
            store.get_node("a")
        assert [problem.key for problem in store.shelf.verify()] == ["a"]


def test_on_corrupt_skip_returns_the_other_nodes(place: Location) -> None:
    write_row(place, {**STORED, "class_name": "Foreign"})
    with DocShelfDocumentStore(place.url, on_corrupt="skip") as store:
        store.add_documents([piece("b")])
        with pytest.warns(CorruptEntryWarning, match="Foreign"):
            assert [node.node_id for node in store.get_nodes(["a", "b"], raise_error=False)] == ["b"]


def test_a_row_with_fields_of_another_version_of_the_framework_is_read(place: Location) -> None:
    write_row(place, {**STORED, "field_of_tomorrow": 1})
    with DocShelfDocumentStore(place.url) as store:
        assert store.get_node("a") == TextNode(id_="a", text="t")


def test_a_value_that_is_not_a_node_is_an_error(docstore: Twin) -> None:
    docstore.store.shelf.set("a", {"some": "json"})
    with pytest.raises(ValueError, match="Document a is not a Node but a dict"):
        docstore.get_node("a", raise_error=False)
    assert not docstore.document_exists("a")


def test_the_stored_form_is_readable_json(new_location: Callable[[str], Location]) -> None:
    place = new_location("sqlite")
    with DocShelfDocumentStore(place.url, compression=None) as store:
        store.add_documents([piece("a", "d", "the text", metadata={"page": 1})])
    engine = create_engine(place.sync_url)
    with engine.connect() as connection:
        key, source, value = connection.execute(text("SELECT key, source, value FROM docshelf_entries")).one()
    engine.dispose()
    content = json.loads(value)
    assert (key, source) == ("a", "d")
    assert {name: content[name] for name in ("id", "text", "metadata", "class_name")} == {
        "id": "a",
        "text": "the text",
        "metadata": {"page": 1},
        "class_name": "TextNode",
    }


def test_hash_options_apply_to_text_and_metadata(new_store: Callable[..., Twin]) -> None:
    by_text = new_store(collection="by text", hash_on="text")
    without_mtime = new_store(collection="without mtime", hash_exclude=("mtime",))
    for store in (by_text, without_mtime):
        store.store.shelf.set("a", piece("a", metadata={"mtime": 1}))
        assert store.store.shelf.conditional_set("a", piece("a", metadata={"mtime": 2})) == ("a", "SKIP")
    assert by_text.store.shelf.conditional_set("a", piece("a", text="new")) == ("a", "UPD")
