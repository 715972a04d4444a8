"""docshelf for LangChain."""
