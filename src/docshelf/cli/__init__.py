"""The command `docshelf`: look into a store, change it, and keep it equal to a folder, without writing Python."""

from __future__ import annotations

from docshelf.cli.run import main

__all__ = ["main"]
