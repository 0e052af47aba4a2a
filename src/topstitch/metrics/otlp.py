"""Sends spans to an OpenTelemetry collector, each once, as soon as its last record is in the journal.

``export_new`` follows the journal by a mark of its own; a collector that is away holds it up and
loses nothing. Ids follow from the records, so that a batch that is sent twice is the same batch.
OTLP over HTTP. Spans are made and written beside the event loop, in batches small enough that
nobody waits for them. It reads journals and writes only its mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from topstitch.foundation.errors import OperatorError, TopstitchError
from topstitch.metrics.tracer import Tracer
from topstitch.metrics.wire import encode
from topstitch.store import Store, rollups, traces
from topstitch.store.database import is_postgres
from topstitch.store.sealing import milliseconds
from topstitch.store.traces import Written

TRACED_MARK: Final = "measures_traced_position"
BATCH: Final = 5000
"""How many records one turn follows: two hundred instances or so, a twentieth of a second."""
SETTLE_SECONDS: Final = 5
"""On PostgreSQL, where a later position may commit before an earlier one, records are followed once they are so old."""
PROTOBUF: Final = "application/x-protobuf"
RESOURCE: Final = {"service.name": "topstitch"}

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[None]]


class SpanSink(Protocol):
    """Where spans go."""

    async def send(self, raw: bytes) -> None:
        """Send a request that holds some, or raise ``OperatorError``."""


class Otlp:
    """A collector that takes OTLP over HTTP; ``post`` carries it there."""

    def __init__(self, endpoint: str, post: Post, *, headers: Mapping[str, str] | None = None) -> None:
        self.endpoint, self._post = endpoint, post
        self._headers = {**(headers or {}), "content-type": PROTOBUF}

    async def send(self, raw: bytes) -> None:
        """Send spans and wait for the collector's answer."""
        try:
            await self._post(self.endpoint, self._headers, raw)
        except TopstitchError as error:
            raise OperatorError(
                "collector-unreachable",
                f"the collector at {self.endpoint} did not take spans ({error.code}); see that it is up and the "
                "address is right; nothing is lost meanwhile",
            ) from error


async def export_new(store: Store, sink: SpanSink, now: datetime, tracer: Tracer | None = None) -> int | None:
    """Send the spans that were completed since the last time; return how many, and nothing when there was no record.

    Call until it returns nothing: a batch of records may have completed no span. Whoever calls it
    time and again keeps the ``tracer``, which spares the journals that it knows.
    """
    tracer = tracer or Tracer()
    mark = await rollups.mark(store, TRACED_MARK)
    settled = milliseconds(now - timedelta(seconds=SETTLE_SECONDS if is_postgres(store.url) else 0))
    rows = _settled(await traces.list_written(store, mark, limit=BATCH), settled)
    if not rows:
        return None
    last = rows[-1].position
    spans, lacking = await asyncio.to_thread(tracer.take, rows)
    if lacking:
        whole = await traces.list_journals(store, sorted(lacking), last)
        spans += await asyncio.to_thread(tracer.take_whole, whole, lacking)
    if spans:
        await sink.send(await asyncio.to_thread(encode, spans, RESOURCE))
    await rollups.set_mark(store, TRACED_MARK, last)
    return len(spans)


def _settled(records: Sequence[Written], until_ms: int) -> Sequence[Written]:
    """Return the records before the first that is too young: what is late behind that one is not passed over."""
    young = next((number for number, record in enumerate(records) if record.at_ms > until_ms), len(records))
    return records[:young]
