"""Every kind of alert, as it is delivered to each kind of place: what a person reads who knows nothing yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from topstitch.foundation.canonical import parse
from topstitch.metrics import conditions, render
from topstitch.metrics.alerts import Condition, Level, settle
from topstitch.metrics.baselines import Pace
from topstitch.metrics.exceptions import Count, Outcome
from topstitch.metrics.pending import Running
from topstitch.metrics.routes import Route, RouteKind, tells
from topstitch.metrics.sla import PromiseState, Standing
from topstitch.store.alarms import AlertRow, Message
from topstitch.store.measures import Overdue
from topstitch.store.populations import Standing as Differing
from topstitch.store.sealing import moment
from unit.metrics.test_seams import MINUTE, NOW, PLAN, TO_ITSM, speed, waiting

PLACES = {str(kind): Route(name=str(kind), kind=kind, to="x", console="https://c.example") for kind in RouteKind}
TITLE = PLAN.title
WORST = [{"instance": "ins_2", "text": "8 s"}]
SEAM = "entra-id > servicenow"


def handoff() -> list[Condition]:
    given = [waiting(12 * MINUTE), waiting(2 * MINUTE, "ins_2")]
    return conditions.handoff_conditions([PLAN], given, (), {}, {}, NOW)


def duration() -> list[Condition]:
    key = (PLAN.workflow, "equipment")
    found = conditions.duration_conditions([PLAN], {key: speed(Pace.SLOW)}, {key: WORST}, NOW)
    return [*found, *found]


def running(count: int = 1) -> list[Condition]:
    given = [Running(
        instance=f"ins_{n}", workflow=PLAN.workflow, version="1.0.0", step="equipment", started_ms=NOW - 500 * MINUTE,
        age_ms=500 * MINUTE,
    ) for n in range(count)]  # fmt: skip
    return conditions.running_conditions([PLAN], given, {(PLAN.workflow, "equipment"): speed(Pace.USUAL)})


def exceptions(tried: int, failed: int) -> list[Condition]:
    key, names = (PLAN.workflow, TO_ITSM), ("unreachable", "refused")
    outcomes = [Outcome(instance=f"ins_{n}", at_ms=NOW - n * MINUTE, failure=names[n % 2]) for n in range(failed)]
    counts = {key: Count(tried=tried, failed=failed)}
    return conditions.exception_conditions([PLAN], counts, {}, {key: outcomes}, {key: outcomes}, NOW)


def sla(state: PromiseState) -> list[Condition]:
    standing = Standing(
        workflow=PLAN.workflow, version="1.0.0", instance="ins_1", promise="provisioned", state=state, open=True,
        started_ms=NOW - 110 * MINUTE, within_ms=120 * MINUTE, used_ms=110 * MINUTE, expected_ms=15 * MINUTE,
        waiting=("equipment",), from_system="entra-id", to_system="servicenow",
        holds_up="servicenow: Equipment request is under way", text="1 h 50 m of 2 h used, 15 m usually still to come",
    )  # fmt: skip
    return conditions.sla_conditions([PLAN], [standing])


def check() -> list[Condition]:
    return conditions.overdue_conditions(
        [PLAN], [Overdue("ins_1", PLAN.workflow, "1.0.0", "sha256:test", NOW - 9 * MINUTE)], NOW
    )


def population() -> list[Condition]:
    row = {
        "id": "dif_1", "what": "missing", "system": "itsm", "instance": "ins_1", "opened_at": moment(NOW - MINUTE),
        "workflow": PLAN.workflow, "subject": "W-1",
    }  # fmt: skip
    return conditions.population_conditions([PLAN], {PLAN.workflow: Differing(1, moment(NOW - MINUTE), [row])})


def delivered(found: Sequence[Condition], event: str = "opened") -> tuple[AlertRow, dict[str, Mapping[str, Any]]]:
    """Let an alert open, and be over when that is asked for; return it and what each place is sent."""
    rows: list[AlertRow] = []
    messages: list[Message] = []
    for number, condition in enumerate(found):
        verdict = settle(rows, [condition], (), NOW + number, number=number, tell=tells(PLACES))
        rows, messages = list(verdict.rows), list(verdict.messages)
    if event == "cleared":
        verdict = settle(rows, (), (), NOW + 30 * MINUTE, number=9, tell=tells(PLACES))
        rows, messages = list(verdict.rows), list(verdict.messages)
    return rows[0], {one.route: parse(one.body) for one in messages}


KINDS: dict[str, tuple[Sequence[Condition], str, str]] = {
    "handoff": (handoff(), SEAM, "1 handoff entra-id > servicenow took longer than 5 m, 1 still open"),
    "duration": (duration(), SEAM, "The last executions took"),
    "running": (running(), SEAM, "1 execution of Equipment request has been under way for longer than 2 h"),
    "paging": (
        exceptions(31, 4),
        SEAM,
        "4 of 31 (12.9 %), significant against 1 %; the limit is 3 % of executions in 1 d",
    ),
    "at_risk": (
        sla(PromiseState.AT_RISK),
        SEAM,
        "0 broken and 1 at risk among those under way; the worst: 1 h 50 m of 2 h used",
    ),
    "breached": (sla(PromiseState.BREACHED), SEAM, "1 broken and 0 at risk among those under way"),
    "check": (check(), "compares workday with", "1 check was due and has not begun; the oldest for 9 m"),
    "population": (population(), "compared with what workday has started", "Next: topstitch discrepancies show dif_1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_says_all_that_is_needed_to_act(kind: str) -> None:
    found, where, what = KINDS[kind]
    alert, sent = delivered(found)
    assert set(sent) == set(PLACES)
    for text in (sent["email"]["text"], sent["ticket"]["detail"]):
        for part in (
            TITLE, f"Workflow: {PLAN.workflow} 1.0.0", "Since: 2026-", "Looks like: ", f"Alert: {alert.id}, ", where,
            what, "Next: topstitch ", f"Next: topstitch alerts ack {alert.id}",
            "Console: https://c.example/", "Worst: ins_",
        ):  # fmt: skip
            assert part in text
    assert what.replace(">", "&gt;") in sent["slack"]["blocks"][1]["text"]["text"]
    assert sent["webhook"]["data"]["next"][-1] == f"topstitch alerts ack {alert.id}"
    assert sent["webhook"]["data"]["diagnosis"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_over_says_what_that_means_and_asks_for_nothing(kind: str) -> None:
    _, sent = delivered(KINDS[kind][0], "cleared")
    text = sent["email"]["text"]
    assert sent["email"]["subject"].startswith("[topstitch] Over: ")
    assert "It stood for " in text
    assert "Looked like: " in text
    assert "Next: " not in text
    assert sent["ticket"]["closed"]


def test_a_promise_that_is_over_is_not_said_to_be_kept() -> None:
    _, sent = delivered(sla(PromiseState.BREACHED), "cleared")
    assert "`topstitch sla` says which kept it" in sent["email"]["text"]


def test_I10_a_share_that_may_be_chance_says_so_and_wakes_nobody() -> None:
    alert, sent = delivered(exceptions(31, 2))
    assert (alert.level, sent) == (Level.CROSSED, {})
    assert str(alert.body["text"]).startswith("2 of 31 (6.5 %), not yet significant; the limit is 3 % of")


def test_I07_an_amber_handoff_opens_no_alert() -> None:
    (amber,) = conditions.handoff_conditions([PLAN], [waiting(2 * MINUTE)], (), {}, {}, NOW)
    assert amber.holds
    assert amber.text.startswith("0 handoffs entra-id > servicenow took longer than 5 m")


def test_what_is_one_is_not_written_as_many() -> None:
    assert running(2)[0].text == "2 executions of Equipment request have been under way for longer than 2 h"


def test_what_is_listed_first_is_what_wants_attention_first() -> None:
    rows = [delivered(KINDS[kind][0])[0] for kind in ("at_risk", "duration", "handoff", "breached")]
    over = delivered(handoff(), "cleared")[0]
    assert [(row.level, row.status) for row in render.worst_first([over, *rows])] == [
        ("breached", "open"), ("red", "open"), ("red", "open"), ("at_risk", "open"), ("red", "cleared"),
    ]  # fmt: skip
    assert [row.kind for row in render.worst_first(rows)] == ["sla", "handoff", "duration", "sla"]


def test_an_alert_that_is_over_is_shown_as_over() -> None:
    said = render.alert_page(delivered(handoff(), "cleared")[0])
    assert said[0].startswith("Over: ")
    assert not [line for line in said if line.startswith("Next: ")]
