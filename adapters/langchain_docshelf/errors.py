"""Errors of this package, beside those of docshelf."""

from __future__ import annotations

from docshelf import DocShelfError


class UnknownChildrenError(DocShelfError):
    """A vector store has children of the documents at hand that no record knows: a sync would add them a second time.

    Nothing was written.
    """
