"""The LangChain adapter."""
