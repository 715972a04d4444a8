"""Direct calls of a driver, without SQLAlchemy, where that is much faster: COPY and small reads."""
