"""The byte store that docshelf came from: it pickles values into one table. Written after its specification."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from typing import Any

from sqlalchemy import Column, Engine, LargeBinary, String
from sqlalchemy.orm import Session, declarative_base

Base: Any = declarative_base()


class ByteStore(Base):  # type: ignore[misc]
    __tablename__ = "bytestore"
    collection_name = Column(String, primary_key=True)
    key = Column(String, primary_key=True)
    value = Column(LargeBinary)
    value_hash = Column(String)
    filename = Column(String, primary_key=True)


class OldPostgresByteStore:
    """Writes values as the old store did."""

    def __init__(self, engine: Engine, collection_name: str) -> None:
        self.engine = engine
        self.collection_name = collection_name
        Base.metadata.create_all(engine)

    def recursive_ordered_dict(self, obj: Any) -> Any:
        if isinstance(obj, dict):
            return OrderedDict((k, self.recursive_ordered_dict(v)) for k, v in sorted(obj.items()))
        if isinstance(obj, list):
            return [self.recursive_ordered_dict(v) for v in obj]
        return obj

    def serialize_value(self, value: Any) -> bytes:
        return pickle.dumps(self.recursive_ordered_dict(value))

    def extract_hashable_content(self, value: Any) -> str:
        return str(getattr(value, "page_content", value))

    def compute_hash(self, content: str) -> str:
        return hashlib.sha256(content.encode("utf-8")).hexdigest()

    def mset(self, pairs: list[tuple[str, Any]], filename: str) -> None:
        with Session(self.engine) as session:
            for key, value in pairs:
                session.merge(
                    ByteStore(
                        collection_name=self.collection_name,
                        key=key,
                        value=self.serialize_value(value),
                        value_hash=self.compute_hash(self.extract_hashable_content(value)),
                        filename=filename,
                    )
                )
            session.commit()

    def mset_raw(self, pairs: list[tuple[str, bytes]], filename: str) -> None:
        """Put bytes into the table that the store itself would not write."""
        with Session(self.engine) as session:
            for key, value in pairs:
                session.merge(
                    ByteStore(
                        collection_name=self.collection_name, key=key, value=value, value_hash="", filename=filename
                    )
                )
            session.commit()
