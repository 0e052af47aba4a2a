"""What TAB completes: the script of each shell, and what the program answers when a shell asks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.commands import called, environment


def completed(*words: str) -> list[str]:
    """Return what bash would be offered after ``words``, of which the last is not finished."""
    asked = {
        "_TOPSTITCH_COMPLETE": "bash_complete",
        "COMP_CWORD": str(len(words)),
        "COMP_WORDS": " ".join(["topstitch", *words]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "topstitch"],
        env=environment(**asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef topstitch"), ("fish", "--command topstitch")]
)
def test_each_shell_is_told_how_to_ask(shell: str, word: str) -> None:
    script = called("completion", shell)
    assert (script.code, word in script.out) == (0, True)
    assert "_TOPSTITCH_COMPLETE" in script.out


def test_a_shell_that_nobody_can_tell_is_refused() -> None:
    assert called("completion", "tcsh").code == 2


def test_commands_their_commands_and_options_are_completed() -> None:
    assert completed("approv") == ["approvals"]
    assert completed("approvals", "re") == ["reassign", "refuse"]
    assert "--keys" in completed("server", "backup", "--")
