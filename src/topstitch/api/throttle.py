"""Decides how much one caller may ask in a minute, and says in every answer how much is left.

A bucket for each caller, in this process: what is over it is answered 429 with the time to wait. The
header fields are those of the IETF draft on RateLimit headers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from topstitch.foundation.errors import TransientError

WINDOW_SECONDS: Final = 60
CALLERS_MAX: Final = 10_000


class ThrottledError(TransientError):
    """A caller asks more than they may."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: datetime


class Throttle:
    """The buckets of one process."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def ask(self, caller: str, now: datetime) -> dict[str, str]:
        """Take one request from a caller's bucket; return the header fields, or raise ``ThrottledError``."""
        if self._per_minute <= 0:
            return {}
        bucket = self._buckets.pop(caller, None) or _Bucket(self._per_minute, now)
        rate = self._per_minute / WINDOW_SECONDS
        bucket.left = min(bucket.left + max((now - bucket.at).total_seconds(), 0) * rate, self._per_minute)
        bucket.at = now
        self._buckets[caller] = bucket
        while len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            wait = max((1 - bucket.left) / rate, 1.0)
            message = f"more than {self._per_minute} requests a minute; wait {round(wait)} s, then go on more slowly"
            headers = self._fields(0, round(wait))
            raise ThrottledError("throttled", message, retry_after_seconds=wait, detail={"headers": headers})
        bucket.left -= 1
        return self._fields(int(bucket.left), round((self._per_minute - bucket.left) / rate))

    def _fields(self, left: int, seconds: int) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"caller";q={self._per_minute};w={WINDOW_SECONDS}',
            "RateLimit": f'"caller";r={left};t={seconds}',
        }
