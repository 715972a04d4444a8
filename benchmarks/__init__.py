"""docshelf beside the raw drivers, on the same data in one run."""
