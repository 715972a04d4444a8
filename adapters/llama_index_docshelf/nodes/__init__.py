"""Nodes as docshelf stores them: their content types, their fields on the way in and out, the nodes of entries."""
