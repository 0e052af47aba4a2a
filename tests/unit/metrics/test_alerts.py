"""One open alert for each cause: opened, raised and cleared once, kept back while muted, never flickering."""

from __future__ import annotations

from topstitch.metrics.alerts import Condition, Kind, Level, Tell, settle
from topstitch.store.alarms import AlertRow, Mute, Verdict

TELL = {"mail": Tell(word=lambda row, event, _message, _now: f"{event} {row.level}")}


def condition(
    level: Level = Level.RED, *, holds: bool = False, evaluations: int = 1, cause: str = "handoff|w|a > b"
) -> Condition:
    return Condition(
        cause=cause, kind=Kind.HANDOFF, level=level, workflow="w", since_ms=5, title="t", text="x", diagnosis="d",
        holds=holds, evaluations=evaluations,
    )  # fmt: skip


class Book:
    """What stands between evaluations."""

    def __init__(self) -> None:
        self.rows: dict[str, AlertRow] = {}
        self.mutes: list[Mute] = []
        self.told: list[str] = []
        self.now = 0

    def see(self, *found: Condition) -> Verdict:
        self.now += 60_000
        standing = [row for row in self.rows.values() if row.status != "cleared"]
        verdict = settle(standing, found, self.mutes, self.now, number=0, tell=TELL)
        for name in verdict.gone:
            del self.rows[name]
        for row in verdict.rows:
            self.rows[row.id] = row
        self.told += [message.body for message in verdict.messages]
        return verdict

    @property
    def states(self) -> list[str]:
        return [f"{row.status} {row.level}" for row in self.rows.values()]


def test_a_cause_is_open_once_however_often_it_is_seen() -> None:
    book = Book()
    for _ in range(5):
        book.see(condition())
    assert book.states == ["open red"]
    assert book.told == ["opened red"]


def test_I04_a_duration_takes_two_evaluations_in_a_row() -> None:
    book = Book()
    book.see(condition(evaluations=2))
    assert book.states == ["suspected red"]
    book.see()
    assert book.states == []
    book.see(condition(evaluations=2))
    book.see(condition(evaluations=2, holds=True))  # below the limit again: not in a row
    assert book.states == []
    book.see(condition(evaluations=2))
    book.see(condition(evaluations=2))
    assert (book.states, book.told) == (["open red"], ["opened red"])


def test_an_alert_does_not_flicker_between_its_two_limits() -> None:
    book = Book()
    book.see(condition())
    for _ in range(4):
        book.see(condition(holds=True))
        book.see(condition())
    assert (book.states, book.told) == (["open red"], ["opened red"])
    book.see(condition(holds=True))
    book.see()
    assert (book.states, book.told) == (["cleared red"], ["opened red", "cleared red"])


def test_what_only_holds_opens_nothing() -> None:
    book = Book()
    book.see(condition(holds=True))
    assert book.states == []


def test_crossed_is_shown_and_nobody_is_woken_until_it_pages() -> None:
    book = Book()
    book.see(condition(Level.CROSSED))
    assert (book.states, book.told) == (["open crossed"], [])
    book.see(condition(Level.PAGING))
    assert (book.states, book.told) == (["open paging"], ["opened paging"])
    book.see(condition(Level.CROSSED))  # it does not sink again before it is over
    assert book.states == ["open paging"]


def test_at_risk_comes_first_and_broken_is_told_again() -> None:
    book = Book()
    book.see(condition(Level.AT_RISK))
    book.see(condition(Level.BREACHED))
    assert book.told == ["opened at_risk", "raised breached"]


def test_what_was_never_told_is_not_told_to_be_over() -> None:
    book = Book()
    book.see(condition(Level.CROSSED))
    book.see()
    assert (book.states, book.told) == (["cleared crossed"], [])


def test_a_mute_keeps_the_message_back_until_it_ends() -> None:
    book = Book()
    book.mutes = [Mute(cause="handoff|w|a > b", ends_ms=150_000, because="upgrade", muted_by="human:dana", muted_ms=0)]
    book.see(condition())
    book.see(condition())
    assert (book.states, book.told) == (["open red"], [])
    book.see(condition())  # it has ended, and the gap is still open
    assert book.told == ["opened red"]


def test_a_cleared_cause_opens_anew_as_another_alert() -> None:
    book = Book()
    book.see(condition())
    book.see()
    book.see(condition())
    assert sorted(book.states) == ["cleared red", "open red"]
    assert len({row.id for row in book.rows.values()}) == 2


def test_other_causes_stay_silent() -> None:
    book = Book()
    book.see(condition(), condition(cause="handoff|w|b > c"))
    book.see(condition())
    assert sorted(book.states) == ["cleared red", "open red"]
