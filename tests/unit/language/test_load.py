"""The strict YAML profile: each trap has its name, its place and its remedy."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from support.definitions import onboarding_text
from topstitch.language.load import load

VALUES = [
    ("on: x", {"on": "x"}),
    ("country: NO", {"country": "NO"}),
    ("yes: no", {"yes": "no"}),
    ("t: 1:30", {"t": "1:30"}),
    ("v: 1.10", {"v": "1.10"}),
    ("d: 2026-01-05", {"d": "2026-01-05"}),
    ("a: true\nb: false\nc: null\nd: ~\ne:", {"a": True, "b": False, "c": None, "d": None, "e": None}),
    ("a: 12\nb: -3\nc: '12'", {"a": 12, "b": -3, "c": "12"}),
    ("null: 1", {"null": 1}),
    ("a: |\n  = x ? 1 : 2\n", {"a": "= x ? 1 : 2\n"}),
    ("a: = 'x' + y", {"a": "= 'x' + y"}),
    ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ("\ufeffa: 1", {"a": 1}),
    ("%YAML 1.1\n---\na: yes", {"a": "yes"}),
]
TRAPS = [
    ("n: 012", "yaml-number", 1, 4, "quotes"),
    ("n: 0x1f", "yaml-number", 1, 4, "decimal"),
    ("n: 99999999999999999999", "yaml-number", 1, 4, "identifier"),
    ("a: 1\na: 2", "yaml-duplicate", 2, 1, "remove"),
    ("when: !x.y", "yaml-tag", 1, 7, "put the expression in quotes"),
    ("a: !!str 5", "yaml-tag", 1, 4, "quotes"),
    ("a: = x ? 'p' : 'q'", "yaml", 1, 14, "must be put in quotes"),
    ("a: = b == 'x: y'", "yaml", 1, 13, "must be put in quotes"),
    ('when: "a" == b', "yaml", 1, 11, "must be put in quotes"),
    ("when: x # y", "yaml-comment", 1, 9, "quotes"),
    ("x: {a: = f(b, c)}", "yaml-flow", 1, 8, "quotes"),
    ("x: {when: f(a, b), c: 1}", "yaml-flow", 1, 11, "quotes"),
    ("c: *b", "yaml-alias", 1, 4, "'*'"),
    ("c: &b 1", "yaml-anchor", 1, 4, "'&'"),
    ("<<: 1", "yaml-merge", 1, 1, "write the fields out"),
    ("a:\n\t- b", "yaml-tab", 2, 1, "spaces"),
    ("? [a]\n: b", "yaml-key", 1, 3, "quotes"),
    ("", "yaml-empty", 1, 1, "init"),
    ("# nothing", "yaml-empty", 1, 1, "init"),
    ("a: 1\n---\nb: 2", "yaml-document", 2, 1, "---"),
    ("a: @x", "yaml", 1, 4, "quotes"),
    ("a: {b: c", "yaml", 1, 4, "close"),
    ("[" * 60, "yaml-depth", 1, 41, "flatter"),
    ("a: \x07", "yaml-character", 1, 4, "remove"),
    ("a: '\ud800'", "yaml-character", 1, 5, "UTF-8"),
]


@pytest.mark.parametrize(("text", "data"), VALUES, ids=[text for text, _ in VALUES])
def test_what_a_text_says(text: str, data: object) -> None:
    document = load(text, "f")
    assert document.data == data
    assert document.findings == ()


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "remedy"), TRAPS, ids=[repr(trap[0][:30]) for trap in TRAPS]
)
def test_a_trap_is_named(text: str, code: str, line: int, column: int, remedy: str) -> None:
    (finding,) = load(text, "f").findings
    assert (finding.code, finding.span.line, finding.span.column) == (code, line, column)
    assert remedy in (finding.help or "")


def test_a_file_that_is_too_long_is_refused_at_once() -> None:
    assert [finding.code for finding in load("a: " + "x" * 1_000_001, "f").findings] == ["yaml-size"]


def test_every_key_and_value_has_its_place() -> None:
    document = load(onboarding_text(), "f")

    def walk(value: object, path: tuple[str | int, ...]) -> None:
        assert path in document.spans
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in entries:
            if isinstance(value, dict):
                span = document.key_spans[(*path, key)]
                assert document.lines[span.line - 1][span.column - 1 : span.end_column - 1].strip("\"'") == key
            walk(item, (*path, key))

    walk(document.data, ())


def test_the_place_of_a_plain_value_is_exact() -> None:
    document = load("a:\n  b: = x.y\n", "f")
    span = document.spans["a", "b"]
    assert document.lines[span.line - 1][span.column - 1 : span.end_column - 1] == "= x.y"


@given(st.text(alphabet=st.sampled_from(list("ab:{}[]'\"#&*!|>-? \n\t,=%@`0129.~<\\")), max_size=60))
def test_no_text_raises(text: str) -> None:
    document = load(text, "f")
    assert document.data is not None or document.findings or text.strip() in {"", "null", "~"}
