"""Decides how spans are written for an OpenTelemetry collector: OTLP in protobuf, straight from our own values.

``otlp`` sends what ``encode`` returns. The message is small and settled, and going through the
SDK's span objects cost six times what this does; a test holds every byte's meaning against the
SDK's own encoder. The numbers are those of ``opentelemetry/proto/trace/v1/trace.proto``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import pack
from typing import Final

from topstitch.metrics.spans import Attribute, Span
from topstitch.store.sealing import milliseconds

KINDS: Final[Mapping[str, bytes]] = {"internal": b"\x30\x01", "client": b"\x30\x03", "consumer": b"\x30\x05"}
_OK: Final = b"\x7a\x02\x18\x01"
_ERROR: Final = b"\x18\x02"
_SAMPLED: Final = 0x01
_SAYS_REMOTE: Final = 0x100
_REMOTE: Final = 0x200
_SHORT: Final = tuple(bytes((size,)) for size in range(128))
"""Lengths of one byte, which most are."""


def encode(spans: Iterable[Span], resource: Mapping[str, str]) -> bytes:
    """Return an ``ExportTraceServiceRequest`` with all the spans of one resource."""
    about = b"".join(_attribute(b"\x0a", name, value) for name, value in resource.items())
    scope = b"".join([b"\x0a\x00", *(_field(b"\x12", _span(span)) for span in spans)])
    return _field(b"\x0a", _field(b"\x0a", about) + _field(b"\x12", scope))


def _span(span: Span) -> bytes:
    trace_id = bytes.fromhex(span.trace_id)
    parts = [b"\x0a\x10", trace_id, b"\x12\x08", bytes.fromhex(span.span_id)]
    if span.trace_state:
        parts.append(_text(b"\x1a", span.trace_state))
    if span.parent_id:
        parts += (b"\x22\x08", bytes.fromhex(span.parent_id))
    parts += (_text(b"\x2a", span.name), KINDS[span.kind])
    times = milliseconds(span.begins) * 1_000_000, milliseconds(span.ends) * 1_000_000
    parts.append(pack("<cQcQ", b"\x39", times[0], b"\x41", times[1]))
    parts += [_attribute(b"\x4a", name, value) for name, value in span.attributes.items()]
    parts += [_link(trace_id, other) for other in span.links]
    parts.append(_field(b"\x7a", _text(b"\x12", span.failed) + _ERROR) if span.failed else _OK)
    flags = _SAMPLED | _SAYS_REMOTE | (_REMOTE if span.parent_is_remote else 0)
    parts.append(pack("<2sI", b"\x85\x01", flags))
    return b"".join(parts)


def _link(trace_id: bytes, span_id: str) -> bytes:
    flags = pack("<cI", b"\x35", _SAMPLED | _SAYS_REMOTE)
    return _field(b"\x6a", b"".join((b"\x0a\x10", trace_id, b"\x12\x08", bytes.fromhex(span_id), flags)))


@lru_cache(maxsize=8192, typed=True)
def _attribute(tag: bytes, name: str, value: Attribute) -> bytes:
    if isinstance(value, bool):
        worth = b"\x10" + (b"\x01" if value else b"\x00")
    elif isinstance(value, int):
        worth = b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    else:
        worth = _text(b"\x0a", value)
    return _field(tag, _text(b"\x0a", name) + _field(b"\x12", worth))


def _text(tag: bytes, text: str) -> bytes:
    return _field(tag, text.encode())


def _field(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return b"".join((tag, _SHORT[size] if size < len(_SHORT) else _varint(size), data))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
