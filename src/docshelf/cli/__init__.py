"""The command `docshelf`: look into a store, and change it, without writing Python."""

from __future__ import annotations

from docshelf.cli.run import main

__all__ = ["main"]
