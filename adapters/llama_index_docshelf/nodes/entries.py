"""What an entry of a shelf is to a document store: a node, or only the hash of one."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from llama_index.core.schema import BaseNode, Document, NodeRelationship, RelatedNodeInfo, TextNode

from docshelf import Entry
from docshelf.adapters import as_document
from llama_index_docshelf.nodes.stored_names import LANGCHAIN, NODE, PLAIN_DOCUMENT, PLAIN_VALUE


def version_of(node: BaseNode) -> str:
    """The hash of a node, which is the version of its row."""
    try:
        return node.hash
    except UnicodeEncodeError:
        # LlamaIndex itself cannot hash a Document with a lone surrogate.
        return sha256(f"{node.get_content()}{node.metadata}".encode("utf-8", "surrogatepass")).hexdigest()


def node_of(entry: Entry | None) -> BaseNode | None:
    """The node of an entry; None where there is no entry, or it holds only a hash.

    Raises:
        ValueError: the entry holds something that is not a node.
    """
    if entry is None or entry.value is None:
        return None
    plain = as_document(entry.value)
    if plain is not None:
        node = TextNode(id_=plain.id or "", text=plain.text, metadata=dict(plain.metadata))
        return _node_of_source(node, entry)
    if not isinstance(entry.value, BaseNode):
        raise ValueError(f"Document {entry.key} is not a Node but a {type(entry.value).__name__}.")
    return _node_of_source(entry.value, entry) if entry.content_type == LANGCHAIN else entry.value


def is_own_node(value: Any) -> bool:
    """True for None and for a node that LlamaIndex wrote; False for any other value, which only `node_of` can judge."""
    # A row that LangChain wrote sets three fields only.
    return value is None or (isinstance(value, BaseNode) and "relationships" in value.model_fields_set)


def holds_node(entry: Entry | None) -> bool:
    """True when the entry holds a node. The entry may have been read without its value; then see `may_hold_node`."""
    return entry is not None and entry.content_type in (NODE, LANGCHAIN, PLAIN_DOCUMENT)


def may_hold_node(entry: Entry | None) -> bool:
    """True when only the value of an entry tells whether it holds a node."""
    return entry is not None and entry.content_type == PLAIN_VALUE


def _node_of_source(node: BaseNode, entry: Entry) -> BaseNode:
    """The node of a document that LlamaIndex did not write. Adding it again keeps it in its source."""
    identity = {"id_": node.id_ or entry.key, "metadata": node.metadata}
    if not entry.source:
        return Document(text=node.get_content(), **identity)
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=entry.source)}
    return TextNode(text=node.get_content(), relationships=source, **identity)
