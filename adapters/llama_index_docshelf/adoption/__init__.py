"""Restores document hashes and nodes from a vector store, so that the next pipeline run embeds nothing."""

from llama_index_docshelf.adoption.adopt import AdoptedNodesReport, aadopt_nodes, adopt_nodes

__all__ = ["AdoptedNodesReport", "aadopt_nodes", "adopt_nodes"]
