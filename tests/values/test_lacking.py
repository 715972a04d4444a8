"""What this process lacks, memory or a time zone, is never told as a fault of the row."""

from __future__ import annotations

import subprocess
import sys
import zoneinfo
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from docshelf.values.compression import unpack
from docshelf.values.json import dumps, loads

# Room in MB beyond what the process has when it begins to read, and the call.
_READ = """
import resource, sys
from docshelf.values.compression import pack_all
from docshelf.values.content_types import Codec
from docshelf.values.stored import Stored

codec = Codec(on_corrupt="skip")
content_type, data, value_hash, checksum = codec.encode("x" * 60_000_000, "k")
[(encoding, value)] = codec.pack_all([data])
row = Stored("k", "", value, value_hash, checksum, content_type, encoding)
del data
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    print(len(codec.decode_all([row])))
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
@pytest.mark.parametrize("room", [10, 100, 300])
def test_too_little_memory_is_a_memory_error(room: int) -> None:
    done = subprocess.run([sys.executable, "-c", _READ, f"{room}"], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("MemoryError\n", "")


@pytest.mark.parametrize("error", [OSError(), KeyError(), ValueError("malformed"), zoneinfo.ZoneInfoNotFoundError()])
def test_a_time_zone_that_cannot_be_loaded_gives_the_same_instant(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    moment = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
    data = dumps([moment])

    def refuse(_name: str) -> Any:
        raise error

    monkeypatch.setattr("docshelf.values.json.ZoneInfo", refuse)
    assert loads(data) == [moment]


def test_a_frame_that_zstd_has_no_memory_for_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import zstandard

    def refuse(_packed: bytes) -> int:
        raise zstandard.ZstdError("decompression error: Allocation error : not enough memory")

    monkeypatch.setattr("zstandard.frame_content_size", refuse)
    with pytest.raises(MemoryError, match="too little memory to unpack"):
        unpack("zstd", b"frame", limit=10)
