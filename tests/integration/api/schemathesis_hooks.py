"""What schemathesis does before each call: a key of its own for each request, as programs send."""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

KEY = "Idempotency-Key"
NUMBERS = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give a request whose key is one a fresh key; a wrong one stays wrong."""
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and key.strip() and len(key) <= 255:
        case.headers[KEY] = f"key-{next(NUMBERS)}"
