"""Searches whatever an installation leaves behind for a planted value: files, databases, logs, exports, pages.

A canary is a value that occurs nowhere else. It is looked for as it is and as programs
write it: URL-quoted, JSON-escaped, HTML-escaped, hexadecimal, UTF-16, base64 at each of the
three offsets, and inside gzip and zip files. ``sightings`` takes folders, files, text and
bytes; ``database_sightings`` reads every column of every table of a PostgreSQL database.
"""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import psycopg

LENGTH_MIN: Final = 8
UNPACKED_BYTES_MAX: Final = 64 << 20
TABLES: Final = (
    "SELECT table_schema, table_name FROM information_schema.tables"
    " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
)


def forms(canary: str) -> dict[str, bytes]:
    """Return how a value may be written, by name. It must be long enough to occur nowhere else."""
    raw = canary.encode()
    if len(raw) < LENGTH_MIN:
        raise ValueError(f"a canary of {len(raw)} bytes would be seen everywhere; take a longer one")
    written = {
        "plain": raw,
        "quoted": quote(canary, safe="").encode(),
        "form": quote_plus(canary).encode(),
        "json": json.dumps(canary)[1:-1].encode(),
        "html": html.escape(canary).encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "utf-16-le": canary.encode("utf-16-le"),
        "utf-16-be": canary.encode("utf-16-be"),
        "reversed": raw[::-1],
    }
    for offset in range(3):
        # What stands before shifts the letters; only those that follow from the canary alone are looked for.
        middle = base64.b64encode(b"\0" * offset + raw)[(0, 2, 3)[offset] :].rstrip(b"=")
        whole = middle[: len(middle) - (1 if (len(raw) + offset) % 3 else 0)]
        written[f"base64+{offset}"] = whole
        written[f"base64url+{offset}"] = whole.replace(b"+", b"-").replace(b"/", b"_")
    return written


def sightings(canary: str, *places: Path | str | bytes, names: Mapping[str, str | bytes] | None = None) -> list[str]:
    """Return where the canary was seen, and in which form: paths are read (folders wholly), text and bytes searched."""
    wanted = forms(canary)
    found = []
    for place, data in (*_contents(places), *((k, _bytes(v)) for k, v in (names or {}).items())):
        for layer in _layers(data):
            found += [f"{place}: {form}" for form, needle in wanted.items() if needle in layer]
    return sorted(set(found))


def database_sightings(canary: str, dsn: str) -> list[str]:
    """Return which tables of a PostgreSQL database hold the canary, in any column."""
    found = []
    with psycopg.connect(dsn) as connection:
        for schema, table in connection.execute(TABLES).fetchall():
            rows = connection.execute(
                psycopg.sql.SQL("SELECT t::text FROM {} t").format(psycopg.sql.Identifier(schema, table))
            )
            found += [f"{schema}.{table}" for (row,) in rows if sightings(canary, row)]
    return sorted(set(found))


def _contents(places: Iterable[Path | str | bytes]) -> Iterator[tuple[str, bytes]]:
    for place in places:
        if isinstance(place, Path):
            files = [path for path in sorted(place.rglob("*")) if path.is_file()] if place.is_dir() else [place]
            for path in files:
                yield str(path), path.read_bytes()
                yield f"the name of {path}", str(path).encode()
        else:
            yield "the given text", _bytes(place)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _layers(data: bytes) -> Iterator[bytes]:
    """Yield the bytes, and what is packed in them."""
    yield data
    try:
        if data[:2] == b"\x1f\x8b":
            yield gzip.GzipFile(fileobj=io.BytesIO(data)).read(UNPACKED_BYTES_MAX)
        elif data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for info in archive.infolist():
                    yield archive.open(info).read(UNPACKED_BYTES_MAX)
        elif data[:1] == b"\x78":
            yield zlib.decompressobj().decompress(data, UNPACKED_BYTES_MAX)
    except (OSError, zlib.error, zipfile.BadZipFile, EOFError):
        return
