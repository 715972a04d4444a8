"""How the steps of operations reach a database: URLs, connections, event loops, retries, errors."""
