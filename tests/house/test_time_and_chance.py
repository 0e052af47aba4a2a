"""Now, ids and chance come from ``topstitch.foundation``: nobody else asks the machine.

Virtual time, repeatable tests and the fault search all hang on it.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator

import pytest

from support.tree import Finding, Source, source, sources, verdict

ALLOWED = "src/topstitch/foundation/"
FORBIDDEN = (
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
    "time.localtime", "time.gmtime",
    "uuid.uuid[124678]", "random.*", "secrets.*", "os.urandom", "os.getrandom",
)  # fmt: skip
# These do not ask the machine: they compare, or carry types.
HARMLESS = ("secrets.compare_digest",)


def test_nobody_but_foundation_asks_the_machine_for_time_or_chance() -> None:
    found = (finding for each in sources("src/") if not each.path.startswith(ALLOWED) for finding in asks(each))
    assert not verdict("time-and-chance", found), "take a Clock, or ask topstitch.foundation"


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ("import datetime\nx = datetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as dt\nx = dt.utcnow()", "datetime.datetime.utcnow"),
        ("from datetime import date\nx = date.today()", "datetime.date.today"),
        ("from time import monotonic\ndef f(now=monotonic): ...", "time.monotonic"),
        ("import time as t\nx = t.time()", "time.time"),
        ("import uuid\nx = uuid.uuid4()", "uuid.uuid4"),
        ("import random\nx = random.Random(7)", "random.Random"),
        ("from secrets import token_hex\nx = token_hex()", "secrets.token_hex"),
        ("import os\nx = os.urandom(8)", "os.urandom"),
        ("def f():\n    import os\n    return os.urandom(8)", "os.urandom"),
    ],
)
def test_a_planted_call_is_caught(planted: str, name: str) -> None:
    assert [finding.name for finding in asks(source("src/topstitch/engine/x.py", planted))] == [name]


@pytest.mark.parametrize(
    "innocent",
    [
        "from datetime import datetime\nx = datetime.fromisoformat('2026-01-01')",
        "import time\ntime.strptime('1', '%S')",
        "import secrets\nx = secrets.compare_digest(b'a', b'b')",
        "def now(clock):\n    return clock.now()",
        "import uuid\nx = uuid.UUID(int=1)",
        "import uuid\nx = uuid.uuid5(uuid.NAMESPACE_URL, 'a')",
    ],
)
def test_what_does_not_ask_the_machine_passes(innocent: str) -> None:
    assert not list(asks(source("src/topstitch/engine/x.py", innocent)))


def asks(module: Source) -> Iterator[Finding]:
    """Yield every use of a forbidden name, whatever it was imported as."""
    imported = imports(module.tree)
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        name = dotted(node, imported)
        if name and name not in HARMLESS and any(fnmatch.fnmatch(name, each) for each in FORBIDDEN):
            yield Finding(module.path, name, node.lineno, "asks the machine")


def imports(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name stands for, in full."""
    meaning: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                meaning[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                meaning[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return meaning


def dotted(node: ast.AST, imported: dict[str, str]) -> str | None:
    """Return the full name that an expression refers to, if it starts at an import."""
    if isinstance(node, ast.Name):
        return imported.get(node.id)
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, imported)
        return base and f"{base}.{node.attr}"
    return None
