"""The tests of the test: an engine that is wrong in one place is found by the simulation within a few seeds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.virtual import Verdict, simulate
from topstitch.attempts import machine
from topstitch.engine import activation, embedded
from topstitch.plan.plan import ActPlan
from topstitch.store import sql
from topstitch.store.statements import RowsStatement

SEEDS_MAX = 200


def first_found(word: str, engines: int | None = None) -> Verdict:
    for seed in range(SEEDS_MAX):
        verdict = simulate(seed, engines=engines)
        if any(word in line for line in verdict.broken):
            return verdict
    raise AssertionError(f"{SEEDS_MAX} seeds and nothing about {word!r}")


def test_without_a_look_up_something_happens_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActPlan, "can_look_up", property(lambda _: False))
    monkeypatch.setattr(ActPlan, "looks_first", property(lambda _: False))
    monkeypatch.setattr(ActPlan, "repeatable", property(lambda _: True))
    print(first_found("twice"))


def test_without_a_last_look_at_the_lease_two_engines_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "LEASE_MARGIN", timedelta(days=-1000))
    print(first_found("holds it"))


def test_without_the_fence_an_engine_writes_under_an_old_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    fence = " AND instances.epoch = r.epoch AND instances.lease_owner = r.owner"
    for name in ("ADVANCE", "SETTLE"):
        fenced: RowsStatement = getattr(sql, name)
        assert fence in fenced._template
        monkeypatch.setattr(sql, name, RowsStatement(fenced._template.replace(fence, ""), fenced._names))
    print(first_found("under epoch"))


def test_without_a_wake_time_an_instance_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation.Activation, "_wake_at", lambda *_: None)
    print(first_found("is an orphan"))


def test_without_giving_up_what_it_holds_an_engine_that_is_alone_forgets_an_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: object) -> None:
        """Leave it."""

    monkeypatch.setattr(embedded.Embedded, "_give_up", nothing)
    print(first_found("time has jumped", engines=1))


def test_without_recovery_an_intent_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "recover", lambda *_: None)
    print(first_found("twice"))
