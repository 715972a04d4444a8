"""Statements: the tables' layout and upgrades, queries, what differs between databases and drivers."""
