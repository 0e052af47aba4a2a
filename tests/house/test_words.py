"""One word per thing: public names use the words of the glossary, not their synonyms.

Connectors and simulators speak their systems' own words, so they are left out, and so is the
outside's vocabulary (``job_profile`` is Workday's). Only names are judged, never prose.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from support.tree import Finding, Source, source, sources, verdict

# Whole names, and what the glossary says.
NAMES = {
    "run_id": "instance", "runs": "instances", "workflow_run": "instance", "workflow_runs": "instances",
    "job": "instance or activation", "jobs": "instances", "job_id": "instance",
    "execution_id": "instance", "exec_id": "instance",
    "flow": "definition", "flows": "definitions", "flow_id": "definition", "pipeline": "definition",
    "pipeline_id": "definition", "sub_flow": "definition",
    "sign_off": "approval", "signoff": "approval", "side_effect": "effect", "side_effects": "effects",
    "foreign_id": "external reference", "unwind": "rollback", "tick": "activation",
}  # fmt: skip
# Parts of names: a `dag_node` is as wrong as a `dag`.
PARTS = {"phase": "stage", "phases": "stages", "dag": "plan", "blockchain": "chain", "workflowrun": "instance"}
FOREIGN = ("src/topstitch/connectors/", "src/topstitch/simulators/")


def test_public_names_use_the_words_of_the_glossary() -> None:
    found = (finding for each in sources("src/") if not each.path.startswith(FOREIGN) for finding in synonyms(each))
    assert not verdict("words", found), "see the glossary"


@pytest.mark.parametrize(
    "planted",
    [
        "def start(run_id): ...",
        "class WorkflowRun: ...",
        "class Instance:\n    phase: str",
        "def next_phase(): ...",
        "class DagNode: ...",
        "class Instance:\n    def unwind(self): ...",
        "JOBS = ()",
    ],
)
def test_a_planted_synonym_is_caught(planted: str) -> None:
    assert list(synonyms(source("src/topstitch/plan/x.py", planted)))


@pytest.mark.parametrize(
    "innocent",
    [
        "def run(): ...",
        "job_profile = 1",
        "def _unwind(): ...",
        "def f():\n    phase = 1\n    return phase",
        "class Runner: ...",
    ],
)
def test_other_peoples_words_and_private_names_pass(innocent: str) -> None:
    assert not list(synonyms(source("src/topstitch/plan/x.py", innocent)))


def test_a_module_is_named_too() -> None:
    assert [each.name for each in synonyms(source("src/topstitch/plan/phases.py", ""))] == ["phases"]


def synonyms(module: Source) -> Iterator[Finding]:
    """Yield every public name that says another word for a thing of the glossary."""
    for name, line in public_names(module):
        if word := better(name):
            yield Finding(module.path, name, line, f"the glossary says {word}")


def better(name: str) -> str | None:
    """Return the glossary's word for a synonym, else None."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if snake in NAMES:
        return NAMES[snake]
    return next((PARTS[part] for part in snake.split("_") if part in PARTS), None)


def public_names(module: Source) -> Iterator[tuple[str, int]]:
    """Yield module, classes, functions, parameters, fields and constants without a leading underscore."""
    yield module.path.rsplit("/", 1)[-1].removesuffix(".py"), 1
    for name, line in declared(module.tree):
        if not name.startswith("_"):
            yield name, line


def declared(body: ast.Module | ast.ClassDef) -> Iterator[tuple[str, int]]:
    """Yield what a module or class declares, parameters included, locals not."""
    for node in body.body:
        match node:
            case ast.ClassDef():
                yield node.name, node.lineno
                if not node.name.startswith("_"):
                    yield from declared(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node.lineno
                if not node.name.startswith("_"):
                    yield from parameters(node)
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node.lineno
            case ast.Assign():
                yield from ((each.id, node.lineno) for each in node.targets if isinstance(each, ast.Name))
            case _:
                continue


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, int]]:
    """Yield the names of what a function takes."""
    for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        yield each.arg, each.lineno
