"""Times in the zone of whoever reads: tables and sentences follow ``--tz``, data for programs do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import pytest

from support.commands import Ran

Run = Callable[..., Ran]
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?Z")
AGAIN = re.compile(r" at (\d\d:\d\d):\d\d")
IN_KOLKATA = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+05:30")


def same_moments(plain: str, zoned: str) -> bool:
    def moments(found: list[str]) -> list[float]:
        return [datetime.fromisoformat(one).timestamp() for one in found]

    return moments(UTC_TIME.findall(plain)) == moments(IN_KOLKATA.findall(zoned))


def test_tables_and_pages_are_shown_in_the_zone(topstitch: Run) -> None:
    name = topstitch("instances", "--json").json()["items"][0]["id"]
    for words in (["instances"], ["instance", "show", name], ["workflows", "list"], ["audit", "show", name],
                  ["approvals", "list", "--all"], ["discrepancies", "list", "--state", "all"]):  # fmt: skip
        plain, zoned = topstitch(*words), topstitch(*words, "--tz", "Asia/Kolkata")
        assert (plain.code, zoned.code) == (0, 0), zoned.err
        assert same_moments(plain.out, zoned.out), words
    assert IN_KOLKATA.search(topstitch("instance", "show", name, "--tz", "Asia/Kolkata").out)


def test_the_story_of_an_instance_is_told_in_the_zone(topstitch: Run) -> None:
    name = topstitch("instances", "--json").json()["items"][0]["id"]
    plain = topstitch("instance", "watch", name, "--no-wait").out.splitlines()
    zoned = topstitch("instance", "watch", name, "--no-wait", "--tz", "Asia/Kolkata").out.splitlines()
    first, moved = (datetime.strptime(f"2026 {one[:15]}Z", "%Y %d %b %H:%M:%S%z") for one in (plain[0], zoned[0]))
    assert (moved - first).total_seconds() == 5.5 * 3600
    again = [(a[1], b[1]) for one, other in zip(plain, zoned, strict=True)
             if (a := AGAIN.search(one)) and (b := AGAIN.search(other))]  # fmt: skip
    assert again, "the demo tries something again"
    assert all(abs(minutes(b) - minutes(a)) in (5.5 * 60, 18.5 * 60) for a, b in again)


def minutes(clock: str) -> int:
    hours, _, rest = clock.partition(":")
    return int(hours) * 60 + int(rest)


@pytest.mark.parametrize("words", [["instances"], ["workflows", "list"], ["approvals", "list", "--all"]])
def test_data_for_programs_stay_in_utc(topstitch: Run, words: list[str]) -> None:
    assert topstitch(*words, "--json", "--tz", "Asia/Kolkata").out == topstitch(*words, "--json").out
    assert topstitch(*words, "-o", "csv", "--tz", "Asia/Kolkata").out == topstitch(*words, "-o", "csv").out


def test_sentences_among_data_stay_in_utc_too(topstitch: Run) -> None:
    name = topstitch("instances", "--json").json()["items"][0]["id"]
    for words in (["audit", "show", name], ["instance", "watch", name, "--no-wait"]):
        assert topstitch(*words, "--json", "--tz", "Asia/Kolkata").out == topstitch(*words, "--json").out


def test_a_wrong_zone_is_wrong_usage_before_anything_is_done(topstitch: Run) -> None:
    done = topstitch("instances", "--tz", "Europe/Berln")
    assert (done.code, done.out) == (2, "")
    assert "'Europe/Berln' is no time zone; did you mean Europe/Berlin?" in done.err
