"""Decides how spans are written for an OpenTelemetry collector: OTLP in protobuf, straight from our own values.

``tracer`` has each span ``written`` where it is found, and ``otlp`` sends what ``encode`` makes of
many. The message is small and settled, and going through the SDK's span objects cost six times what
this does; a test holds every byte's meaning against the SDK's own encoder. What spans share is
written once and put into each: protobuf lets fields stand in any order. The numbers are those of
``opentelemetry/proto/trace/v1/trace.proto``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final

from topstitch.metrics.spans import SORTS_MAX, Attribute, Common, Sort, Span

KINDS: Final[Mapping[str, bytes]] = {"internal": b"\x30\x01", "client": b"\x30\x03", "consumer": b"\x30\x05"}
_OK: Final = b"\x7a\x02\x18\x01"
_ERROR: Final = b"\x18\x02"
_SAMPLED: Final = 0x01
_SAYS_REMOTE: Final = 0x100
_REMOTE: Final = 0x200
_NEAR: Final = b"\x85\x01" + (_SAMPLED | _SAYS_REMOTE).to_bytes(4, "little")
_FAR: Final = b"\x85\x01" + (_SAMPLED | _SAYS_REMOTE | _REMOTE).to_bytes(4, "little")
_LINK: Final = b"\x6a\x21\x0a\x10"
"""What stands before the two ids of a link, which is 33 bytes long."""
_LINKED: Final = b"\x35" + (_SAMPLED | _SAYS_REMOTE).to_bytes(4, "little")
_TIMED: Final = Struct("<2s8scQcQ").pack
"""The id of a span, its begin and its end."""
_SHORT: Final = tuple(bytes((size,)) for size in range(128))
"""Lengths of one byte, which most are."""
_LONG: Final = 1 << 14
"""Lengths from here on take three bytes or more, and no usual span is so long."""


def encode(spans: Iterable[bytes], resource: Mapping[str, str]) -> bytes:
    """Return an ``ExportTraceServiceRequest`` with spans of one resource, each as ``written``."""
    about = b"".join(_attribute(b"\x0a", name, value) for name, value in resource.items())
    return _field(b"\x0a", _field(b"\x0a", about) + _field(b"\x12", b"".join([b"\x0a\x00", *spans])))


def written(span: Span) -> bytes:
    """Return a span as it stands in a request."""
    begins, ends = span.begins_ms * 1_000_000, span.ends_ms * 1_000_000
    timed = _TIMED(b"\x12\x08", bytes.fromhex(span.span_id), b"\x39", begins, b"\x41", ends)
    parts = [_common(span.common), _sort(span.sort), timed, _FAR if span.parent_is_remote else _NEAR]
    if span.parent_id:
        parts += (b"\x22\x08", bytes.fromhex(span.parent_id))
    if span.own:
        parts += [_own(name, value) for name, value in span.own.items()]
    for other in span.links:
        parts += (_LINK, bytes.fromhex(span.trace_id), b"\x12\x08", bytes.fromhex(other), _LINKED)
    parts.append(_field(b"\x7a", _text(b"\x12", span.failed) + _ERROR) if span.failed else _OK)
    return _field(b"\x12", b"".join(parts))


@lru_cache(maxsize=256)
def _common(common: Common) -> bytes:
    state = _text(b"\x1a", common.trace_state) if common.trace_state else b""
    return b"".join((b"\x0a\x10", bytes.fromhex(common.trace_id), state, _attributes(common.attributes)))


@lru_cache(SORTS_MAX)
def _sort(sort: Sort) -> bytes:
    return b"".join((_text(b"\x2a", sort.name), KINDS[sort.kind], _attributes(sort.attributes)))


def _attributes(attributes: Mapping[str, Attribute]) -> bytes:
    return b"".join([_attribute(b"\x4a", name, value) for name, value in attributes.items()])


def _own(name: str, value: Attribute) -> bytes:
    """Write an attribute of one span: numbers come back, texts hardly ever do."""
    return _attribute(b"\x4a", name, value) if isinstance(value, str) else _number(name, value)


@lru_cache(maxsize=8192, typed=True)
def _number(name: str, value: int) -> bytes:
    return _attribute(b"\x4a", name, value)


def _attribute(tag: bytes, name: str, value: Attribute) -> bytes:
    if isinstance(value, str):
        worth = _text(b"\x0a", value)
    elif isinstance(value, bool):
        worth = b"\x10" + (b"\x01" if value else b"\x00")
    else:
        worth = b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    return _field(tag, _text(b"\x0a", name) + _field(b"\x12", worth))


def _text(tag: bytes, text: str) -> bytes:
    return _field(tag, text.encode())


def _field(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    if size < len(_SHORT):
        return b"".join((tag, _SHORT[size], data))
    if size < _LONG:
        return b"".join((tag, bytes((size & 0x7F | 0x80, size >> 7)), data))
    return b"".join((tag, _varint(size), data))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
