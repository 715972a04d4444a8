"""Adopts the children that another program put into a vector store, so that a retriever does not embed them again."""

from langchain_docshelf.adoption.adopt import aadopt, adopt
from langchain_docshelf.adoption.parent_ids import aparent_ids, parent_ids
from langchain_docshelf.adoption.report import AdoptionReport

__all__ = ["AdoptionReport", "aadopt", "adopt", "aparent_ids", "parent_ids"]
