"""The exceptions list stays honest: every entry names a guard that exists, gives a reason and is needed."""

from __future__ import annotations

import tomllib

from support.tree import EXCEPTIONS, Exemption, Finding, judge

GUARDS = {
    "time-and-chance",
    "debts",
    "addresses",
    "words",
    "long-functions",
    "long-modules",
    "large-files",
    "sleeping-tests",
}


def test_every_exception_names_a_guard_and_gives_a_reason() -> None:
    entries = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))
    assert set(entries) <= GUARDS
    for guard, exceptions in entries.items():
        for entry in exceptions:
            assert set(entry) <= {"path", "name", "reason"}, f"{guard}: {entry}"
            assert len(entry["reason"].split()) >= 3, f"{guard} {entry['path']}: a reason takes more than that"


def test_an_exception_excuses_only_its_place_and_fails_when_it_excuses_nothing() -> None:
    here, there = Finding("src/a.py", "long", 1, "too long"), Finding("src/b.py", "long", 9, "too long")
    granted = [Exemption("g", "src/a.py", "long", "it is a table"), Exemption("g", "src/c.py", "*", "it was one")]
    assert judge([there, here], granted) == [
        "src/b.py:9: long: too long",
        "tests/house/exceptions.toml: [g] src/c.py *: excuses nothing; remove it",
    ]
