"""People, sessions, attempts, tokens and proposals, as both databases keep them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.record import Actor, ActorKind
from topstitch.store import Store, definitions, people, proposals, sessions, tokens
from topstitch.store.people import PersonRow
from topstitch.store.proposals import Proposal
from topstitch.store.sessions import Failures, RoundTrip, Session
from topstitch.store.tokens import Token

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ROOT = Actor(ActorKind.HUMAN, "root")


async def add(store: Store, name: str, *roles: tuple[str, str], **more: object) -> None:
    row = PersonRow(id=name, made_at=NOW, made_by="human:root", **more)  # type: ignore[arg-type]
    await people.add(store, row, ROOT, roles)


async def test_a_person_stands_with_their_own_roles_and_those_of_their_groups(store: Store) -> None:
    assert not await people.anybody(store)
    await add(store, "robot", kind="service")
    assert not await people.anybody(store)
    await add(store, "ada", ("admin", ""), ("operator", "people-*"), member_of=("ops",))
    assert await people.anybody(store)
    assert await people.grant(store, "group:ops", "viewer", "", ROOT, NOW)
    assert not await people.grant(store, "group:ops", "viewer", "", ROOT, NOW)
    found = await people.standing(store, "ada")
    assert found is not None
    assert {(g.principal, g.role, g.place) for g in found.grants} == {
        ("ada", "admin", ""),
        ("ada", "operator", "people-*"),
        ("group:ops", "viewer", ""),
    }
    with pytest.raises(ConflictError, match="is the last admin"):
        await people.revoke(store, "ada", "admin", "", ROOT, NOW)
    assert await people.grant(store, "group:admins", "admin", "", ROOT, NOW)  # whoever a provider says is in it
    assert await people.revoke(store, "ada", "admin", "", ROOT, NOW)
    assert not await people.revoke(store, "ada", "admin", "", ROOT, NOW)
    assert [row.id for row in await people.listing(store)] == ["ada", "robot"]
    with pytest.raises(ConflictError):
        await add(store, "ada")
    with pytest.raises(NotFoundError):
        await people.grant(store, "nobody", "viewer", "", ROOT, NOW)


async def test_a_provider_vouches_for_one_person_once(store: Store) -> None:
    await add(store, "ada")
    await people.link(store, "ada", "acme", "u-1", ROOT, NOW)
    with pytest.raises(ConflictError):
        await people.link(store, "ada", "acme", "u-2", ROOT, NOW)
    await people.signed_in(store, "ada", LATER, member_of=["ops"], shown="Ada")
    await people.signed_in(store, "ada", LATER)
    found = await people.vouched(store, "acme", "u-1")
    assert found is not None
    assert (found.id, found.member_of, found.name, found.signed_in_at) == ("ada", ("ops",), "Ada", LATER)
    assert await people.vouched(store, "acme", "u-2") is None


async def test_sessions_begin_replace_rest_and_end(store: Store) -> None:
    await add(store, "ada")
    times = {"began_at": NOW, "signed_in_at": NOW, "seen_at": NOW}
    one = Session(id="ses_1", person="ada", ends_at=LATER, provider="acme", provider_subject="u-1", **times)
    await sessions.begin(store, "a", one)
    await sessions.begin(store, "b", one, instead_of="a")
    assert await sessions.find(store, "a") is None
    await sessions.seen(store, "b", NOW + timedelta(minutes=5))
    found = await sessions.find(store, "b")
    assert found is not None
    assert (found[0].seen_at, found[1].person.id) == (NOW + timedelta(minutes=5), "ada")
    assert await sessions.end_by_provider(store, "acme", session=None, subject="u-2") == 0
    assert await sessions.end_by_provider(store, "acme", session=None, subject="u-1") == 1
    await sessions.begin(store, "c", one)
    assert await people.disable(store, "ada", ROOT, NOW) == (1, 0)
    assert await sessions.of_person(store, "ada") == []


async def test_of_many_attempts_at_once_no_more_are_let_in_than_of_many_in_a_row(store: Store) -> None:
    def three(pair: Failures, _account: Failures, _address: Failures) -> float:
        return 0.0 if pair.count < 3 else 15.0

    within = timedelta(hours=1)
    waits = await asyncio.gather(*(sessions.attempt(store, "ada", "10.0.0.1", NOW, within, three) for _ in range(12)))
    assert sorted(waits) == [0.0] * 3 + [15.0] * 9
    assert await sessions.attempt(store, "ada", "10.0.0.2", NOW, within, three) == 0
    assert await sessions.attempt(store, "ada", "10.0.0.1", NOW + 2 * within, within, three) == 0
    await sessions.forget_attempts(store, "ada")
    assert await sessions.attempt(store, "ada", "10.0.0.1", NOW, within, three) == 0


async def test_a_round_trip_is_taken_once_and_in_time(store: Store) -> None:
    trip = RoundTrip(provider="acme", nonce="n", verifier="v", target="/", ends_at=LATER)
    await sessions.keep_trip(store, "s", trip, NOW)
    assert await sessions.take_trip(store, "s", NOW) == trip
    assert await sessions.take_trip(store, "s", NOW) is None
    await sessions.keep_trip(store, "t", trip, NOW)
    assert await sessions.take_trip(store, "t", LATER) is None


async def test_tokens_are_found_used_and_revoked(store: Store) -> None:
    await add(store, "ada")
    await add(store, "robot", kind="service")
    token = Token(id="tok_1", name="ci", person="robot", maker="ada", scopes=("*.read",), made_at=NOW, ends_at=LATER)
    await tokens.make(store, "secret", token, ROOT)
    await tokens.used(store, "tok_1", NOW)
    found = await tokens.find(store, "secret")
    assert found is not None
    assert (found[0].scopes, found[0].used_at, found[1].person.id) == (("*.read",), NOW, "robot")
    assert found[2] is not None
    assert found[2].person.id == "ada"
    assert len(await tokens.listing(store, "ada")) == len(await tokens.listing(store)) == 1
    await tokens.revoke(store, "tok_1", ROOT, NOW)
    await tokens.revoke(store, "tok_1", ROOT, LATER)
    (kept,) = await tokens.listing(store)
    assert kept.revoked_at == NOW
    with pytest.raises(NotFoundError):
        await tokens.revoke(store, "tok_2", ROOT, NOW)


def proposal(digest: str, version: str, parent: str | None = None) -> Proposal:
    return Proposal(
        digest=digest,
        workflow="w",
        version=version,
        source="text",
        normal="{}",
        parent=parent,
        because=("it writes",),
        proposed_at=NOW,
        proposed_by="human:paul",
    )


async def test_a_proposal_is_agreed_to_once_and_names_both(store: Store) -> None:
    one, other = proposal("sha256:aa1", "1.0.0"), proposal("sha256:ab2", "2.0.0")
    await proposals.propose(store, one, ROOT)
    await proposals.propose(store, one, ROOT)
    await proposals.propose(store, other, ROOT)
    with pytest.raises(NotFoundError):
        await proposals.find(store, "a")
    assert await proposals.agree(store, await proposals.find(store, "aa"), ROOT, LATER)
    with pytest.raises(ConflictError):
        await proposals.agree(store, one, ROOT, LATER)
    in_force = await definitions.in_force_of(store, "w")
    assert in_force is not None
    assert (in_force.version, in_force.published_by) == ("1.0.0", "human:paul")
    moved = await store.work(lambda backend: backend.execute("SELECT moved_by FROM channels"))
    assert [tuple(row) for row in moved] == [("human:root",)]
    with pytest.raises(ConflictError, match="published by somebody else since"):
        await proposals.agree(store, other, ROOT, LATER)
    assert [p.digest for p in await proposals.waiting(store)] == ["sha256:ab2"]
    await proposals.withdraw(store, other, ROOT, LATER)
    assert await proposals.waiting(store) == []
