"""Scripts that build and try the package."""
