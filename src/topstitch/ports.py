"""The three hands as one value: database, business systems, activation.

``bootstrap`` makes it once; whoever holds it can touch the world, and a function without
it cannot. It decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from topstitch.connectors.registry import Registry
from topstitch.engine.port import Engine
from topstitch.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a room needs to touch the world."""

    store: Store
    connectors: Registry
    engine: Engine
