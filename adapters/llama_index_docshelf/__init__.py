"""docshelf for LlamaIndex."""
