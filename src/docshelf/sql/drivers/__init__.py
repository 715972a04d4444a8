"""Calls of a driver itself, past SQLAlchemy, where that pays: COPY and small reads."""
