"""Values to bytes and back: canonical JSON, content types, hashes, compression. No I/O."""
