"""Engines perform the steps of operations: URLs, connections, event loops, retries, drivers' errors."""
