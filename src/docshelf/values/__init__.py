"""Turns values into bytes and back: canonical JSON, content types, hashes, compression. No I/O with a database."""
