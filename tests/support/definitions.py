"""The shipped onboarding definition for tests, and ways to spoil it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import topstitch
from support.contracts import CONTRACTS
from topstitch.language.check import CheckResult, check
from topstitch.language.load import Document, load
from topstitch.language.schema import Workflow

EXAMPLES = Path(topstitch.__file__).parent / "examples" / "onboarding"
ONBOARDING = EXAMPLES / "employee-onboarding.yaml"
NAME = "onboarding.yaml"


@cache
def onboarding_text() -> str:
    """Return the text of the shipped file."""
    return ONBOARDING.read_text(encoding="utf-8")


def spoiled(*changes: tuple[str, str]) -> str:
    """Return the shipped text with each first occurrence replaced; a change that finds nothing is an error."""
    text = onboarding_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


def checked(text: str) -> tuple[Document, CheckResult]:
    """Load and check a text."""
    document = load(text, NAME)
    return document, check(document, CONTRACTS)


def workflow(text: str | None = None) -> Workflow:
    """Return the workflow of a text that is right."""
    result = checked(text or onboarding_text())[1]
    assert result.workflow is not None
    return result.workflow
