"""The lattice: demands join to the strictest, in any order, and never get weaker."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from topstitch.governance.approvers import Who, WhoKind, asked, parse_who
from topstitch.governance.obligations import (
    AUTO,
    Level,
    Ruling,
    denial,
    gate,
    gates_body,
    gates_from,
    join_all,
    notice,
    parse_ruling,
)

PEOPLE = ["owner", "group:a", "group:b", "manager_of(subject)", "dana"]
people = st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=3, unique=True)
rulings: st.SearchStrategy[Ruling] = st.recursive(
    st.one_of(
        st.just(AUTO),
        st.builds(notice, people),
        st.builds(gate, people, st.integers(1, 5), st.lists(st.sampled_from(["ticket", "quote"]), max_size=2)),
        st.builds(denial, st.sampled_from(["freeze", "agents"]), st.just("no")),
    ),
    lambda some: st.lists(some, max_size=3).map(join_all),
    max_leaves=6,
)


@given(rulings, rulings, rulings)
def test_join_is_commutative_associative_and_idempotent_and_auto_is_its_zero(a: Ruling, b: Ruling, c: Ruling) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) == a == a.join(AUTO) == AUTO.join(a)


@given(rulings, rulings)
def test_a_join_is_as_strict_as_both_and_never_a_lower_level(a: Ruling, b: Ruling) -> None:
    both = a.join(b)
    assert both.allows(a)
    assert both.allows(b)
    assert both.level >= max(a.level, b.level)
    assert both.persons >= max(a.persons, b.persons)
    assert {"auto": 0, "approve": 1, "deny": 2}[both.outcome] >= {"auto": 0, "approve": 1, "deny": 2}[a.outcome]


@given(rulings, rulings, rulings)
def test_a_join_is_the_least_such_ruling(a: Ruling, b: Ruling, c: Ruling) -> None:
    if c.allows(a) and c.allows(b):
        assert c.allows(a.join(b))


@given(rulings)
def test_gates_survive_a_record(ruling: Ruling) -> None:
    assert gates_from(gates_body(ruling)).gates == ruling.gates


@given(rulings)
def test_a_ruling_is_read_back_from_how_it_is_written(ruling: Ruling) -> None:
    assert parse_ruling(str(ruling).split("; ")).gates == ruling.gates


def test_the_levels_in_order() -> None:
    ladder = ["auto", "notify(owner)", "approve(owner)", "approve(owner, 2)", "deny"]
    assert [parse_ruling(text).level for text in ladder] == sorted(Level)
    assert parse_ruling(["approve(group:a)", "approve(group:b)"]).level is Level.APPROVE_BY_TWO


def test_the_same_people_are_asked_once_and_as_strictly_as_each_wants() -> None:
    both = gate("owner", 1, ["ticket"]).join(gate("owner", 2))
    assert str(both) == "approve(owner, 2, with ticket)"


def test_two_groups_take_two_people_and_either_of_a_list_takes_one() -> None:
    assert gate("group:a").join(gate("group:b")).persons == 2
    assert gate(["group:a", "group:b"]).persons == 1


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("maybe", "write auto, notify"),
        ("approve(requester)", "name somebody else"),
        ("approve(subject)", "name somebody else"),
        ("approve(group:)", "names nobody"),
        ("approve(owner, 0)", "write 1 to 5"),
        ("approve(owner, 6)", "write 1 to 5"),
        ("approve(owner, group:a)", "join approvers with 'or'"),
        ("approve(manager_of())", "names nobody"),
    ],
)
def test_what_is_no_obligation_is_refused_with_a_remedy(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy.replace("(", r"\(")):
        parse_ruling(text)


def test_who_is_named() -> None:
    assert parse_who("manager_of(subject)") == Who(WhoKind.MANAGER_OF, "subject")
    assert parse_who("group:sales-ops") == Who(WhoKind.GROUP, "sales-ops")
    assert parse_who("role:approver").name == "approver"
    assert parse_who("dana.o'neil@acme.example").kind is WhoKind.PERSON
    for text in ("owner", "requester", "manager_of(requester)", "role:x", "group:a/b", "W-100001"):
        assert str(parse_who(text)) == text
    assert asked(["owner", "group:a", "owner"]) == ("owner", "group:a")
    for wrong in ([], [1], 7, "everybody here", ""):
        with pytest.raises(ValueError, match="name"):
            asked(wrong)
