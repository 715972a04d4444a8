"""Document stores of LlamaIndex as sources: nodes with their hashes, and what is known of their documents."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from llama_index.core.storage.docstore.utils import json_to_doc

from docshelf import ArgumentTypeError, DocShelfError, Item, SourceNote, UnknownDocument
from docshelf.adapters import Compute, Flow, Url
from docshelf.moving import KeyedRecords, Note, RawEntry, Record, Refused, Source, Take
from llama_index_docshelf.moving.sections import FileSections, Pair, Sections, TableSections, sections_of
from llama_index_docshelf.nodes.content_types import node_content_types
from llama_index_docshelf.nodes.entries import version_of
from llama_index_docshelf.nodes.stored_names import NODE

DOCSTORE: Final = "docstore"
DOCSTORE_FILE: Final = "docstore.json"
_DATA, _METADATA, _REF_DOC_INFO = "/data", "/metadata", "/ref_doc_info"
_PAGE: Final = 500


def from_docstore(docstore: Any) -> Source:
    """The nodes of a document store: any `KVDocumentStore` (Simple, Redis, MongoDB, Firestore, Postgres, ...).

    A `PostgresDocumentStore` is read by its table, page by page. Any other store is read through its own `get_all`,
    which holds all of its nodes in memory.

    Args:
        docstore: the store.

    Raises:
        ArgumentTypeError: it is no such store.
    """
    names = ("_kvstore", "_node_collection", "_metadata_collection", "_ref_doc_collection")
    if not all(hasattr(docstore, name) for name in names):
        raise ArgumentTypeError(f"a {type(docstore).__name__} is no KVDocumentStore")
    return DocstoreSource(
        sections_of(docstore._kvstore),
        docstore._node_collection,
        docstore._metadata_collection,
        docstore._ref_doc_collection,
    )


def from_docstore_file(path: str | os.PathLike[str], namespace: str = DOCSTORE) -> Source:
    """The nodes of a persisted `SimpleDocumentStore`, in bounded memory.

    Args:
        path: the folder that was given to `persist`, or the file `docstore.json` itself.
        namespace: the namespace of the store.

    Raises:
        ConfigurationError: there is no such file.
    """
    file = Path(path)
    return _in_namespace(FileSections(file / DOCSTORE_FILE if file.is_dir() else file), namespace)


def from_docstore_table(
    database: Url | Any, table_name: str = DOCSTORE, namespace: str = DOCSTORE, *, schema_name: str | None = None
) -> Source:
    """The nodes in the table of a `PostgresDocumentStore`, with values of json or jsonb.

    Args:
        database: a URL or a SQLAlchemy Engine.
        table_name, namespace: as the store was made with: the table is `data_<table_name>`.
        schema_name: the schema of the table; by default the first of the search path.
    """
    return _in_namespace(TableSections(database, f"data_{table_name}", schema_name), namespace)


def _in_namespace(sections: Sections, namespace: str) -> Source:
    return DocstoreSource(sections, *(f"{namespace}{suffix}" for suffix in (_DATA, _METADATA, _REF_DOC_INFO)))


class DocstoreSource(Source):
    """A document store that keeps nodes, hashes and documents in three collections."""

    def __init__(self, sections: Sections, nodes: str, labels: str, documents: str) -> None:
        self._sections = sections
        self._nodes = nodes
        self._labels = labels
        self._documents = documents
        self._dump = node_content_types()[0].dump

    def count(self) -> Flow[int]:
        return self._sections.count(self._nodes)

    def read(self, take: Take) -> Flow[None]:
        with KeyedRecords() as labels:

            def take_labels(pairs: Sequence[Pair]) -> Flow[None]:
                yield Compute(labels.add, pairs)

            def take_nodes(pairs: Sequence[Pair]) -> Flow[None]:
                known = yield Compute(labels.take, [key for key, _ in pairs])
                records = yield Compute(self._node_records, pairs, known)
                yield from take(records)

            def take_documents(pairs: Sequence[Pair]) -> Flow[None]:
                notes = [_note(key, value) for key, value in pairs]
                yield from take([note for note in notes if note is not None])

            yield from self._sections.read(self._labels, take_labels)
            yield from self._sections.read(self._nodes, take_nodes)
            rest = labels.rest(_PAGE)
            while page := (yield Compute(next, rest, [])):
                yield from take([_hash_record(key, value) for key, value in page])
            yield from self._sections.read(self._documents, take_documents)

    def _node_records(self, pairs: Sequence[Pair], known: Sequence[Any]) -> list[Record]:
        return [self._node_record(key, value, label) for (key, value), label in zip(pairs, known, strict=True)]

    def _node_record(self, key: str, value: Any, label: Any) -> Record:
        try:
            node = json_to_doc(_with_data(value))
            content = self._dump(node)
            version = _hash_of(label) or version_of(node)
        except (DocShelfError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as exc:
            return Refused(key, "", f"no node of LlamaIndex ({type(exc).__name__}: {exc!s:.200})")
        return Item(key, UnknownDocument(NODE, content), node.ref_doc_id or _document_of(label), version)


def _with_data(value: Any) -> dict[str, Any]:
    """A node as `doc_to_json` writes it; old versions wrote its data as text."""
    if not isinstance(value, dict):
        raise TypeError(f"a {type(value).__name__} where the JSON of a node belongs")
    data = value["__data__"]
    return {**value, "__data__": json.loads(data) if isinstance(data, str) else data}


def _hash_of(label: Any) -> str | None:
    doc_hash = label.get("doc_hash") if isinstance(label, dict) else None
    return doc_hash if isinstance(doc_hash, str) else None


def _document_of(label: Any) -> str:
    document = label.get("ref_doc_id") if isinstance(label, dict) else None
    return document if isinstance(document, str) else ""


def _hash_record(key: str, label: Any) -> Record:
    """What is known of a node or document that the store does not have itself."""
    doc_hash = _hash_of(label)
    if doc_hash is None:
        return Refused(key, "", "a document without a node and without a hash")
    return RawEntry(key, _document_of(label), None, None, None, None, doc_hash)


def _note(key: str, value: Any) -> Note | None:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    return Note(key, SourceNote(metadata=metadata)) if isinstance(metadata, dict) and metadata else None
