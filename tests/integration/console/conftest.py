"""A seeded console in this process, read only for a whole module or fresh for one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from browser.seeded import Hired, seed
from browser.site import Answer, ask, hands_for
from topstitch.console import Hands, console_app
from topstitch.store import Store, at_once


class House:
    """The console, what it stands on, and who lives in it."""

    def __init__(self, store: Store, hires: list[Hired], **more: Any) -> None:
        self.store, self.hires = store, {hire.state.title: hire for hire in hires}
        self.hands: Hands = hands_for(store, **more)
        self.app = console_app(self.hands)

    def id(self, name: str) -> str:
        return self.hires[name].id

    async def get(self, path: str, **headers: str) -> Answer:
        return await ask(self.app, path, **headers)

    async def post(self, path: str, person: str = "dana", **form: str) -> Answer:
        return await ask(self.app, path, method="POST", form=form, cookie=f"topstitch_person={person}")

    def again(self, **more: Any) -> House:
        """Return another console on the same store."""
        return House(self.store, list(self.hires.values()), **more)


def made() -> House:
    store = Store.open("sqlite::memory:")
    return House(store, at_once(seed(store)))


@pytest.fixture(scope="module")
def told() -> Iterator[House]:
    """The story, for tests that only look."""
    house = made()
    yield house
    house.store.close()


@pytest.fixture
def house() -> Iterator[House]:
    """The story, for a test that changes it."""
    one = made()
    yield one
    one.store.close()
