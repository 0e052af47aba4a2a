"""A process that appends until it is killed, and prints what it was told is durable: for ``test_failures``.

Started as a program with a URL, a key file and a name. Each line is an instance and the
number of its newest durable record.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from integration.store.kit import claim_one, draft, later, start
from topstitch.store import Store

WIDTH = 8


async def carry(store: Store, name: str) -> None:
    """Start one instance and append to it for ever."""
    await start(store, name, later(0))
    (lease,) = [due.lease for due in (await store.claim(name, later(0), 3600, 1)).due] or [await claim_one(store)]
    for number in range(1, 1_000_000):
        await store.append(lease, [draft("x", "identity", {"n": number, "pad": "p" * 300}), draft("y", "identity")])
        print(lease.instance, 1 + 2 * number, flush=True)  # noqa: T201 -- the parent reads it


async def main(url: str, key_file: str, name: str) -> None:
    """Append to several instances at once, so that commits are shared."""
    with Store.open(url, key_file=Path(key_file)) as store:
        await asyncio.gather(*(carry(store, f"ins_{name}_{number}") for number in range(WIDTH)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
