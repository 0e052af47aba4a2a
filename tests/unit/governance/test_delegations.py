"""Delegations: what may be granted, and that nobody who wants a write ever releases it, whoever they stand in for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from topstitch.foundation.errors import TopstitchError
from topstitch.governance.delegations import HELD_MAX, require_grant
from topstitch.governance.duties import Delegation, Parties, exclude, grants_to, names_of

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
PEOPLE = [f"p{number}" for number in range(6)]


def grant(grantor: str, delegate: str, days: float = 7, starts: float = 0, group: str | None = None) -> Delegation:
    begins = NOW + timedelta(days=starts)
    return Delegation(
        grantor=grantor, delegate=delegate, starts_at=begins, ends_at=begins + timedelta(days=days), group=group
    )


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (grant("max", "human:MAX"), "delegation-self"),
        (grant("max", "agent:fixer"), "delegation-person"),
        (grant("system:engine", "sara"), "delegation-person"),
        (grant("max", " "), "delegation-person"),
        (grant("max", "sara", days=0), "delegation-end"),
        (grant("max", "sara", days=3, starts=-9), "delegation-end"),
        (grant("max", "sara", days=367), "delegation-long"),
        (grant("max", "otto"), "delegation-chain"),
        (grant("kim", "max"), "delegation-chain"),
        (grant("otto", "kim"), "delegation-there"),
    ],
)
def test_what_may_not_be_granted(new: Delegation, code: str) -> None:
    known = [grant("otto", "kim")]
    with pytest.raises(TopstitchError) as refused:
        require_grant(new, known, NOW)
    assert refused.value.code == code


def test_what_may_be_granted_beside_others() -> None:
    require_grant(grant("max", "sara"), [grant("max", "nils"), grant("sara", "kim", starts=8)], NOW)
    require_grant(grant("max", "sara", group="it"), [grant("max", "sara")], NOW)


def test_nobody_stands_in_for_everybody() -> None:
    known = [grant(f"g{number}", "sara") for number in range(HELD_MAX)]
    with pytest.raises(TopstitchError) as refused:
        require_grant(grant("max", "sara"), known, NOW)
    assert refused.value.code == "delegation-many"


GRANTS = st.lists(
    st.builds(grant, st.sampled_from(PEOPLE), st.sampled_from(PEOPLE), st.floats(0, 30), st.floats(-20, 20)),
    max_size=12,
)


@given(
    grants=GRANTS,
    party=st.sampled_from(PEOPLE),
    role=st.sampled_from(["requester", "subject", "proposer", "owner of the proposing agent"]),
    after=st.floats(0, 40),
)
@settings(deadline=None)
def test_A08_no_sequence_of_delegations_lets_who_wants_a_write_release_it(
    grants: list[Delegation], party: str, role: str, after: float
) -> None:
    """Whatever was granted, refused or not: neither a party nor whoever acts for one is ever asked, or answers."""
    parties, now = Parties(names={}).with_names(role, party), NOW + timedelta(days=after)
    held: list[Delegation] = []
    for new in grants:
        try:
            require_grant(new, held, NOW)
        except TopstitchError:
            if new.grantor != new.delegate and len(held) % 2:  # as if an older version had taken it
                held.append(new)
            continue
        held.append(new)
    allowed, excluded = exclude([{"id": name} for name in PEOPLE], parties, held, now)
    names = {str(person["id"]) for person in allowed}
    assert party not in names
    acting = {one.delegate for one in held if one.holds(now) and one.grantor == party}
    assert not names & acting
    assert len(allowed) + len(excluded) == len(PEOPLE)


@given(grants=GRANTS)
@settings(deadline=None)
def test_nobody_stands_in_for_a_stand_in(grants: list[Delegation]) -> None:
    held: list[Delegation] = []
    for new in grants:
        try:
            require_grant(new, held, NOW)
        except TopstitchError:
            continue
        held.append(new)
    for at in {one.starts_at for one in held}:
        for name in PEOPLE:
            for one in grants_to(names_of({"id": name}), held, at):
                assert not list(grants_to(names_of({"id": one.grantor}), held, at))
