"""The tree holds no debts: no test that is passed over, no marker for later, nothing left unimplemented, no sleep.

The words are written in pieces here, so that this file does not find itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from support.tree import Finding, Source, pieced, source, sources, texts, verdict

LATER = re.compile(rf"\b({pieced('TO-DO', 'FIX-ME', 'X-XX', 'HA-CK')})\b")
PASSED_OVER = {"skip", "skipif", "xfail", "importorskip", "skipTest"}
UNIMPLEMENTED = pieced("NotImplemented-Error")
LOCKS = (".lock", ".svg", ".min.js")


def test_nothing_is_left_for_later() -> None:
    found = (finding for path, text in texts() if not path.endswith(LOCKS) for finding in markers(path, text))
    assert not verdict("debts", [*found, *(debt for each in sources() for debt in debts(each))])


def test_no_test_sleeps() -> None:
    found = (nap for each in sources("tests/") if "/test_" in each.path for nap in naps(each))
    assert not verdict("sleeping-tests", found), "wait for what you wait for, or move a simulated clock"


@pytest.mark.parametrize(
    "planted",
    [
        "import pytest\n@pytest.mark.skip\ndef test_x(): ...",
        "import pytest\n@pytest.mark.skipif(True, reason='')\ndef test_x(): ...",
        "import pytest\npytest.importorskip('x')",
        "from pytest import xfail\nxfail()",
        f"def f():\n    raise {UNIMPLEMENTED}",
    ],
)
def test_a_planted_debt_is_caught(planted: str) -> None:
    assert list(debts(source("tests/test_x.py", planted)))


def test_a_planted_marker_is_caught_and_ordinary_words_are_not() -> None:
    assert [each.line for each in markers("src/x.py", f"a = 1\n# {pieced('TO-DO')}: b")] == [2]
    assert not list(markers("src/x.py", "todos = hacksaw"))


def test_a_planted_sleep_is_caught_and_a_yield_to_the_loop_is_not() -> None:
    planted = "import time\ntime.sleep(1)\nasync def f():\n    await asyncio.sleep(0.1)\n    await asyncio.sleep(0)"
    assert [each.line for each in naps(source("tests/test_x.py", planted))] == [2, 4]


def markers(path: str, text: str) -> Iterator[Finding]:
    """Yield every marker for later."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := LATER.search(line):
            yield Finding(path, match[0], number, "do it now, or say it in an issue")


def debts(module: Source) -> Iterator[Finding]:
    """Yield every test that is passed over and everything unimplemented."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in PASSED_OVER and "pytest" in ast.unparse(node.value):
            yield Finding(module.path, node.attr, node.lineno, "a test runs or does not exist")
        elif isinstance(node, ast.ImportFrom) and node.module == "pytest":
            for alias in node.names:
                if alias.name in PASSED_OVER:
                    yield Finding(module.path, alias.name, node.lineno, "a test runs or does not exist")
        elif isinstance(node, ast.Name) and node.id == UNIMPLEMENTED:
            yield Finding(module.path, node.id, node.lineno, "write it, or leave it out")


def naps(module: Source) -> Iterator[Finding]:
    """Yield every sleep that takes time."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and takes_time(node):
            yield Finding(module.path, ast.unparse(node.func), node.lineno, "a test does not sleep")


def takes_time(call: ast.Call) -> bool:
    """Tell a sleep from ``asyncio.sleep(0)``, which only lets others go on."""
    if ast.unparse(call.func) not in {"time.sleep", "asyncio.sleep"}:
        return False
    return not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)
