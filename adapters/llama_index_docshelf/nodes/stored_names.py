"""Names in the stored form of a node."""

from __future__ import annotations

from typing import Final

NODE: Final = "llama-index/node"
"""The content type of a node."""
LANGCHAIN: Final = "langchain/document"
"""The content type of a document that LangChain's adapter wrote."""
PLAIN_DOCUMENT: Final = "document"
"""The content type of a `docshelf.Document`, which no framework wrote."""
PLAIN_VALUE: Final = "json"
"""The content type of a plain value, which may be a text."""
METADATA_ORDER: Final = "metadata_order"
"""The field that holds the order of the keys of the metadata, where the canonical bytes do not keep it."""
RESERVED: Final = frozenset(("id", "class_name", METADATA_ORDER))
"""Fields that the stored form adds to those of the class."""
RESOURCES: Final = ("image_resource", "audio_resource", "video_resource")
"""The fields of a `Node` that hold a `MediaResource`, besides that of its text."""
