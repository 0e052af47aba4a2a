"""Things stay small: functions, modules and files; and every module says what it is for.

The limits lie above what good code of our kind has at its ninetieth percentile, so that only the
tail is talked about. What is long for a reason has an entry in exceptions.toml.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from support.tree import ROOT, Finding, Source, files, qualified, source, sources, verdict

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 600
FILE_KILOBYTES_MAX = 400
DOCSTRING_WORDS_MIN = 4


def test_no_function_creeps() -> None:
    assert not verdict("long-functions", long_functions((*sources("src/"), *sources("tools/"), *sources("tests/"))))


def test_no_module_holds_a_second_thing() -> None:
    assert not verdict("long-modules", long_modules((*sources("src/"), *sources("tools/"), *sources("tests/"))))


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(finding) for finding in silent_modules((*sources("src/"), *sources("tools/"), *sources("tests/")))]
    assert not silent, "\n".join(silent)


def test_no_file_is_large() -> None:
    assert not verdict("large-files", large_files(files()))


def test_a_planted_long_function_is_caught_and_its_docstring_is_free() -> None:
    body = "\n".join(f"    x{number} = {number}" for number in range(FUNCTION_LINES_MAX))
    talk = '    """' + "\n    ".join(["talk"] * 40) + '"""\n'
    caught = list(long_functions([source("src/x.py", f"class A:\n  def f(self):\n    pass\n{body}\n")]))
    assert [(finding.name, finding.line) for finding in caught] == [("A.f", 2)]
    short = "\n".join(f"    x{number} = {number}" for number in range(FUNCTION_LINES_MAX - 1))
    assert not list(long_functions([source("src/x.py", f"def f():\n{talk}{short}\n")]))


def test_a_planted_long_module_is_caught() -> None:
    assert list(long_modules([source("src/x.py", "x = 1\n" * (MODULE_LINES_MAX + 1))]))
    assert not list(long_modules([source("src/x.py", "x = 1\n" * MODULE_LINES_MAX)]))


def test_a_planted_silent_module_is_caught() -> None:
    planted = [source("src/x.py", "x = 1"), source("src/y.py", '"""Y."""'), source("tests/__init__.py", "")]
    assert [finding.path for finding in silent_modules(planted)] == ["src/x.py", "src/y.py"]


def test_a_planted_large_file_is_caught(tmp_path: Path) -> None:
    planted = tmp_path / "blob"
    planted.write_bytes(b"0" * (FILE_KILOBYTES_MAX * 1024 + 1))
    assert [finding.path for finding in large_files([planted])] == [str(planted)]


def long_functions(modules: Iterable[Source]) -> Iterator[Finding]:
    """Yield every function longer than the limit, its signature counted, its docstring not."""
    for module in modules:
        for name, node in qualified(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)
                if lines > FUNCTION_LINES_MAX:
                    yield Finding(module.path, name, node.lineno, f"{lines} lines, at most {FUNCTION_LINES_MAX}")


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines the docstring takes."""
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


def long_modules(modules: Iterable[Source]) -> Iterator[Finding]:
    """Yield every module longer than the limit."""
    for module in modules:
        lines = len(module.text.splitlines())
        if lines > MODULE_LINES_MAX:
            yield Finding(module.path, "module", lines, f"{lines} lines, at most {MODULE_LINES_MAX}")


def silent_modules(modules: Iterable[Source]) -> Iterator[Finding]:
    """Yield every module that has code and no docstring of a few words."""
    for module in modules:
        if module.tree.body and len((ast.get_docstring(module.tree) or "").split()) < DOCSTRING_WORDS_MIN:
            yield Finding(module.path, "module", 1, "open with a docstring that says what the file decides or does")


def large_files(paths: Iterable[Path]) -> Iterator[Finding]:
    """Yield every file over the limit; the lock is as large as its hashes."""
    for path in paths:
        size = path.stat().st_size
        if size > FILE_KILOBYTES_MAX * 1024 and path.suffix != ".lock":
            name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
            yield Finding(name, "file", 1, f"{size // 1024} KB, at most {FILE_KILOBYTES_MAX}")
