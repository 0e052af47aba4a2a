"""Decides what a log line carries and what it never does: instance and trace ids in, secrets and personal data out.

``named`` and ``redact`` are processors of structlog: the door that starts the log puts them before its renderer.
An entry made while an instance is worked on names it and its trace.
Values under telling names are redacted wherever they stand, and so is what looks like a
credential inside a text. It opens no file and sets no level.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from topstitch.foundation.w3c import followed, trace_id_of

REDACTED: Final = "[redacted]"
DEPTH_MAX: Final = 8
TELLING: Final = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|api[_-]?key|authorization|cookie|credential|signature|private[_-]?key"
    r"|client[_-]?secret|assertion|enrol(l)?ment[_-]?link|personal|e?mail|phone|(first|last|legal|display)[_-]?name"
    r"|payload|body|ssn|birth)"
)
CREDENTIALS: Final = (
    re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"\bwhsec_[A-Za-z0-9+/=]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*"),
    re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)\b(?:password|secret|token|api_key)=[^\s&,;]+"),
)
KEPT: Final = frozenset(
    {"event", "level", "logger", "timestamp", "instance", "trace_id", "span_id", "exc_info", "exception"}
)

Event = MutableMapping[str, Any]


def named(_logger: Any, _method: str, event: Event) -> Event:
    """Name the instance that the present task works on, and its trace."""
    about = followed()
    if about is not None:
        event.setdefault("instance", about.instance)
        event.setdefault("trace_id", trace_id_of(about.instance, about.incoming))
    return event


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Take out of an entry what nobody should read there."""
    for name, value in event.items():
        if name in KEPT:
            event[name] = redacted_text(value) if isinstance(value, str) else value
        else:
            event[name] = _redacted(name, value, 0)
    return event


def redacted_text(text: str) -> str:
    """Return a text without what looks like a credential."""
    for shape in CREDENTIALS:
        text = shape.sub(REDACTED, text)
    return text


def _redacted(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if TELLING.search(name) or depth > DEPTH_MAX:
        return REDACTED
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted("", inner, depth + 1) for inner in value]
    return redacted_text(str(value))
