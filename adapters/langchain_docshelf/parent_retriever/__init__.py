"""The parent retriever: small children in a vector store lead to their parent documents in a document store."""
