"""How a document store takes the documents of a folder: see `docshelf.folder.sync_folder`."""

from __future__ import annotations

from typing import Any, Final

from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode

from docshelf import Document, Item
from docshelf.folder import FolderTarget, Piece
from llama_index_docshelf.nodes.entries import version_of

# The path of a file is no part of what is embedded: a file that moves keeps its vectors.
_NOT_EMBEDDED: Final = ("source",)


class NodesTarget(FolderTarget):
    """A `DocShelfDocumentStore`: nodes, whose document (`ref_doc_id`) is the file's source."""

    def convert(self, piece: Any) -> Any:
        """A node as a document of no framework."""
        if not isinstance(piece, BaseNode):
            return piece
        return Document(piece.get_content(MetadataMode.NONE), piece.metadata)

    def item(self, piece: Piece, source: str) -> Item:
        """What is stored of a document."""
        node = TextNode(
            id_=piece.key,
            text=piece.document.text,
            metadata=dict(piece.document.metadata),
            excluded_embed_metadata_keys=list(_NOT_EMBEDDED),
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)},
        )
        return Item(piece.key, node, source, version_of(node))
