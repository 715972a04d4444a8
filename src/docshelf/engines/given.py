"""Performs steps on the caller's own engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Engine

from docshelf.engines.base import EngineBackend, pool_size_of
from docshelf.engines.url import without_secrets
from docshelf.errors import ConfigurationError, MissingEngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from docshelf.sql.dialects.base import Dialect


class GivenEngines(EngineBackend):
    """Performs steps on the caller's Engine, AsyncEngine, or both. They are never closed here."""

    def __init__(
        self,
        engine: Engine | None,
        async_engine: AsyncEngine | None,
        dialect: Dialect,
        *,
        pooler: bool,
        retry_seconds: float,
    ) -> None:
        for given in (engine, async_engine):
            if given is not None:
                check_translation(given.get_execution_options(), dialect)
        super().__init__(dialect, pooler=pooler, retry_seconds=retry_seconds)
        self._given = engine
        self._given_async = async_engine

    def _engine(self) -> Engine:
        if self._given is None:
            raise MissingEngineError(
                "this store has only an AsyncEngine; use its async methods, or pass engine= as well"
            )
        return self._given

    def _async_engine(self) -> AsyncEngine:
        if self._given_async is None:
            raise MissingEngineError(
                "this store has only a sync Engine; use its sync methods, or pass async_engine= as well"
            )
        return self._given_async

    def __getstate__(self) -> NoReturn:
        raise TypeError("a store on a given engine stays in its process, as the engine does; make it from a url")

    def close(self) -> None:
        self._closed = True

    async def aclose(self) -> None:
        self._closed = True

    @property
    def pool_size(self) -> int | None:
        if self._given is not None:
            return pool_size_of(self._given)
        return None if self._given_async is None else pool_size_of(self._given_async.sync_engine)

    def __repr__(self) -> str:
        engine = self._given if self._given is not None else self._given_async
        assert engine is not None
        return repr(without_secrets(engine.url))


def check_engines(engine: object, async_engine: object) -> None:
    """Raise a ConfigurationError if an argument is not an Engine, or not an AsyncEngine."""
    if engine is not None and not isinstance(engine, Engine):
        raise ConfigurationError(f"engine is a {type(engine).__name__}; give a SQLAlchemy Engine")
    # Not by isinstance: importing AsyncEngine takes 0.1 s.
    if async_engine is not None and not hasattr(async_engine, "sync_engine"):
        raise ConfigurationError(f"async_engine is a {type(async_engine).__name__}; give a SQLAlchemy AsyncEngine")


def check_translation(options: Mapping[str, Any], dialect: Dialect) -> None:
    """Raise a ConfigurationError if SQLAlchemy would put the tables into another schema.

    It translates the names of `Table`s, and not those in statements of plain SQL, of which docshelf has many.
    """
    schema = dialect.tables.entries.schema
    translated = (options.get("schema_translate_map") or {}).get(schema, schema)
    if translated != schema:
        raise ConfigurationError(
            f"schema_translate_map puts the tables into {translated!r}; pass schema={translated!r} to the store instead"
        )
