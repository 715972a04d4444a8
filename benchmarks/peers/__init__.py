"""Who is measured: docshelf, and what stands beside it."""
