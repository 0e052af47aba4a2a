"""A module that is imported at its first use: what is used is the module's own, and nothing is imported before."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest

from topstitch.foundation.later import Later


def test_what_is_used_is_the_modules_own_and_is_kept() -> None:
    later = Later("fractions")
    import fractions

    assert later.Fraction is fractions.Fraction
    assert vars(later)["Fraction"] is fractions.Fraction


def test_nothing_is_imported_before_the_first_use() -> None:
    script = (
        "import sys; from topstitch.foundation.later import Later; later = Later('fractions');"
        "before = 'fractions' in sys.modules; later.Fraction; print(before, 'fractions' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]


def test_what_is_not_there_is_said_as_the_module_would() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Fracture'"):
        _ = Later("fractions").Fracture
    with pytest.raises(ModuleNotFoundError):
        _ = Later("no_such_module").anything


def test_it_can_be_copied_and_printed_without_an_import() -> None:
    assert "Later" in repr(copy.copy(Later("no_such_module")))
