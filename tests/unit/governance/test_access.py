"""Rights: the table is whole, admin neither approves nor publishes, and a token is never wider than its maker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, strategies as st

from topstitch.foundation.errors import NotAllowedError
from topstitch.governance.access import (
    AGENTS_MAY,
    CHANGES_NOTHING,
    FRESH,
    PEOPLE_ONLY,
    RIGHTS,
    ROLES,
    Grant,
    Identity,
    covered,
    is_scope,
    may,
    may_somewhere,
    no_wider,
    parse_grant,
    part_of,
    require,
    require_fresh,
    why_not,
)

WORKFLOWS = ("people-onboarding", "people-leaving", "quotes", "quotes-large")
PLACES = st.sampled_from(("", "quotes", "quotes*", "people-*", "people-onboarding"))
GRANTS = st.builds(Grant, st.sampled_from(ROLES), PLACES)
RIGHT = st.sampled_from(sorted(RIGHTS))
WHERE = st.sampled_from((None, *WORKFLOWS))
SCOPES = st.lists(st.sampled_from(("*", "*.read", "instances.*", *sorted(RIGHTS))), max_size=6)


def person(*grants: Grant, **more: object) -> Identity:
    held = {
        "roles": tuple(g.role for g in grants if not g.where),
        "grants": tuple(g for g in grants if g.where),
    }
    return msgspec.convert({"id": "ada", **held, **more}, Identity, from_attributes=True)


IDENTITIES = st.builds(lambda grants: person(*grants), st.lists(GRANTS, max_size=5))


@given(bound=IDENTITIES, maker=IDENTITIES, scopes=SCOPES, right=RIGHT, workflow=WHERE)
def test_a_token_is_never_wider_than_its_maker_or_its_owner(
    bound: Identity, maker: Identity, scopes: list[str], right: str, workflow: str | None
) -> None:
    token = msgspec.structs.replace(bound, maker=maker, scopes=tuple(scopes), via="token", kind="service")
    if may(token, right, workflow):
        assert may(bound, right, workflow)
        assert may(maker, right, workflow)
        assert right not in PEOPLE_ONLY


@given(identity=IDENTITIES, right=RIGHT, workflow=WHERE)
def test_what_is_allowed_everywhere_is_allowed_in_each_part(
    identity: Identity, right: str, workflow: str | None
) -> None:
    if may(identity, right):
        assert may(identity, right, workflow)
    part = part_of(identity, right)
    for name in WORKFLOWS:
        assert covered(part, name) is may(identity, right, name)
    assert may_somewhere(identity, right) is (part is None or part != ())


@given(grants=st.lists(GRANTS, max_size=4), right=RIGHT, workflow=WHERE)
def test_U04_an_admin_never_approves_or_publishes_whatever_part_they_hold(
    grants: list[Grant], right: str, workflow: str | None
) -> None:
    admin = person(*(Grant("admin", grant.where) for grant in grants))
    if may(admin, right, workflow):
        assert right not in {"approvals.decide", "definitions.publish", "policies.publish"}


@given(right=RIGHT, workflow=WHERE)
def test_an_auditor_reads_everything_and_changes_nothing(right: str, workflow: str | None) -> None:
    auditor = person(Grant("auditor"))
    if may(auditor, right, workflow):
        assert right in CHANGES_NOTHING
    if right.endswith(".read"):
        assert may(auditor, right, workflow)


@given(grants=st.lists(GRANTS, max_size=6), scopes=st.none() | SCOPES, right=RIGHT, workflow=WHERE)
def test_H14_an_agent_never_approves_publishes_or_manages_with_whatever_roles(
    grants: list[Grant], scopes: list[str] | None, right: str, workflow: str | None
) -> None:
    agent = person(*grants, kind="agent", scopes=None if scopes is None else tuple(scopes))
    if may(agent, right, workflow):
        assert right in AGENTS_MAY
        assert right not in PEOPLE_ONLY


@given(narrow=st.lists(GRANTS, max_size=4), wide=st.lists(GRANTS, max_size=4), right=RIGHT, workflow=WHERE)
def test_what_is_called_no_wider_gives_nothing_more(
    narrow: list[Grant], wide: list[Grant], right: str, workflow: str | None
) -> None:
    if not no_wider(narrow, wide) and may(person(*narrow), right, workflow):
        assert may(person(*wide), right, workflow)


def test_G05_a_viewer_acts_on_nothing() -> None:
    viewer = person(Grant("viewer"))
    assert {right for right in RIGHTS if may(viewer, right)} <= CHANGES_NOTHING


def test_G05_an_operator_does_not_publish_and_a_publisher_does_not_approve() -> None:
    assert not may(person(Grant("operator")), "definitions.publish")
    assert not may(person(Grant("publisher")), "approvals.decide")


def test_every_right_is_somebodys_and_every_set_names_rights() -> None:
    assert all(held for held in RIGHTS.values())
    assert RIGHTS.keys() >= PEOPLE_ONLY | AGENTS_MAY | FRESH | CHANGES_NOTHING
    assert not PEOPLE_ONLY & AGENTS_MAY


def test_what_is_not_declared_is_nobodys() -> None:
    everything = person(*(Grant(role) for role in ROLES))
    assert "not declared" in str(why_not(everything, "moon.land"))
    assert not may(None, "instances.read")


def test_a_star_does_not_cover_decisions_or_what_needs_a_fresh_sign_in() -> None:
    star = person(Grant("approver"), Grant("publisher"), Grant("admin"), scopes=("*",), via="token")
    assert may(star, "connectors.manage")
    assert not may(star, "approvals.decide")
    assert not may(star, "definitions.publish")
    named = msgspec.structs.replace(star, scopes=("approvals.decide",))
    assert may(named, "approvals.decide")


def test_the_refusal_says_which_role_is_needed_and_what_one_has() -> None:
    why = str(why_not(person(Grant("operator", "people-*")), "instances.operate", "quotes"))
    assert why == ("Needs the role operator or admin for quotes; you are operator:people-*. An admin can grant it.")
    with pytest.raises(NotAllowedError, match="ada may not do this") as refused:
        require(person(), "instances.read")
    assert refused.value.code == "not-allowed"


def test_what_changes_the_law_needs_a_sign_in_of_the_last_five_minutes() -> None:
    now = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    fresh = person(Grant("publisher"), signed_in_at=now - timedelta(minutes=5))
    require_fresh(fresh, "policies.publish", now)
    with pytest.raises(NotAllowedError) as refused:
        require_fresh(fresh, "policies.publish", now + timedelta(seconds=1))
    assert refused.value.code == "sign-in-again"
    require_fresh(fresh, "instances.operate", now + timedelta(hours=1))


@pytest.mark.parametrize("text", ["operator", "operator:quotes", "admin:people-*"])
def test_a_grant_reads_as_it_is_written(text: str) -> None:
    assert str(parse_grant(text)) == text


@pytest.mark.parametrize("text", ["king", "operator:a*b", ":quotes", ""])
def test_a_grant_that_cannot_be_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"one of|a workflow"):
        parse_grant(text)


def test_scopes_are_rights_and_their_families() -> None:
    assert all(is_scope(scope) for scope in ("*", "*.read", "instances.*", "events.send"))
    assert not any(is_scope(scope) for scope in ("", "moon.*", "instances", "*.write"))
