"""Definitions: written once, one in force, and of two publishers one hears of the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from integration.store.kit import NOW, later
from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.store import Store, definitions
from topstitch.store.definitions import Definition


def definition(version: str, text: str = "workflow: onboarding", at: float = 0) -> Definition:
    """Return a definition; its digest follows from the text."""
    return Definition(
        digest=f"sha256:{version}:{text}",
        workflow="onboarding",
        version=version,
        text=text,
        normal=f"normal of {text}",
        published_at=later(at),
        published_by="human:dana@acme.example",
    )


async def test_V01_two_versions_are_two_and_a_published_one_cannot_be_changed(store: Store) -> None:
    one, two = definition("1.0.0"), definition("1.1.0", at=5)
    assert await definitions.publish(store, one, parent=None)
    assert await definitions.publish(store, two, parent=one.digest)
    assert await definitions.versions(store, "onboarding") == [two, one]
    assert await definitions.get(store, one.digest) == one
    with pytest.raises(ConflictError, match="raise the version") as refused:
        await definitions.publish(store, definition("1.0.0", "workflow: other"), parent=two.digest)
    assert refused.value.code == "version-published"
    assert await definitions.in_force_of(store, "onboarding") == two


async def test_V02_the_new_version_is_in_force_and_the_old_one_can_be_put_back(store: Store) -> None:
    one, two = definition("1.0.0"), definition("1.1.0")
    await definitions.publish(store, one, parent=None)
    assert await definitions.publish(store, one, parent=None) is False
    await definitions.publish(store, two, parent=one.digest)
    assert await definitions.in_force(store) == [two]
    assert await definitions.publish(store, one, parent=two.digest)
    assert await definitions.in_force(store) == [one]


async def test_V04_a_stale_parent_is_refused(url: str, key_file: Path, store: Store) -> None:
    one = definition("1.0.0")
    await definitions.publish(store, one, parent=None)
    with Store.open(url, key_file=key_file) as other:
        results = await asyncio.gather(
            definitions.publish(store, definition("1.1.0", "a"), parent=one.digest),
            definitions.publish(other, definition("1.2.0", "b"), parent=one.digest),
            return_exceptions=True,
        )
    (refused,) = [each for each in results if isinstance(each, ConflictError)]
    assert refused.code == "stale-parent"
    assert len(await definitions.versions(store, "onboarding")) == 2


async def test_what_was_never_published_is_named(store: Store) -> None:
    with pytest.raises(NotFoundError, match="publish"):
        await definitions.get(store, "sha256:none")
    assert await definitions.in_force_of(store, "onboarding") is None
    assert definition("1.0.0").published_at == NOW
