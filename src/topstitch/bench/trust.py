"""Measures what governance and the audit cost: an expression, a policy decision, a sealed record, a verified one.

``topstitch bench`` adds these rows to what it prints. Everything happens in memory, on the code that runs in
production; nothing is sent and nothing is stored. Budgets are absolute, on one processor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import topstitch
from topstitch.audit.bench import measure
from topstitch.bench.measure import cpu_seconds
from topstitch.foundation.errors import OperatorError
from topstitch.governance.bundle import Bundle
from topstitch.governance.bundle_files import read_bundle
from topstitch.governance.obligations import AUTO
from topstitch.governance.policy import Law, assumed, judge
from topstitch.language.expressions import Facts, runtime_expression

BUNDLE: Final = Path(topstitch.__file__).parent / "examples" / "policies" / "standard"
DECISIONS: Final = 2_000
ROUNDS: Final = 3
EACH: Final = 5
"""How many conditions are asked of the same facts, as rules and gates do."""
GIVEN: Final[dict[str, Any]] = {
    "step": {"action": "servicenow.create_catalog_request", "risk": 2, "input": {"items": ["Laptop 14 inch"]}},
    "context": {
        "quote": {"total": "2500.00 USD", "items": ["Laptop 14 inch"]},
        "profile": {"elevated": False, "quota_carrying": False, "crm_role": "Starter"},
    },
}


def run_trust() -> dict[str, Any]:
    """Measure everything; return rows of ``{title, figure, unit, budget, met}``."""
    audit = measure()
    return {
        "rows": [
            _row("an expression against facts at hand", _expression_us(), "us", 13.0),
            _row("a decision by the shipped policy", _decision_us(), "us", 100.0),
            _row("audit overhead a record, beside the write", audit.overhead_us, "us", 10.0),
            _row("records verified", audit.verify_per_cpu_second, "/s", 100_000.0, higher_is_better=True),
        ]
    }


def _expression_us() -> float:
    """Return the CPU time of one condition that the runtime has to be asked for, in microseconds."""
    conditions = [runtime_expression(f"step.risk + {number} < 7 && step.action != 'x'") for number in range(EACH)]

    def decide() -> None:
        facts = Facts(GIVEN)
        for condition in conditions:
            condition.holds(facts)

    return _us(decide) / EACH


def _decision_us() -> float:
    """Return the CPU time of one decision, its record's body included, in microseconds."""
    law, scope = Law(in_force=_shipped()), assumed(GIVEN)
    return _us(lambda: judge(law, AUTO, (), scope))


def _us(do: Callable[[], object]) -> float:
    """Return the CPU time of one go in microseconds, the best of a few rounds."""
    do()
    best = float("inf")
    for _ in range(ROUNDS):
        began = cpu_seconds()
        for _ in range(DECISIONS):
            do()
        best = min(best, cpu_seconds() - began)
    return best / DECISIONS * 1e6


def _shipped() -> Bundle:
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(BUNDLE.glob("*.yaml"))}
    bundle, _ = read_bundle(files)
    if bundle is None:
        raise OperatorError("policy-missing", f"{BUNDLE} holds no policy bundle; install the package anew")
    return bundle


def _row(title: str, figure: float, unit: str, budget: float, *, higher_is_better: bool = False) -> dict[str, Any]:
    met = figure >= budget if higher_is_better else figure <= budget
    return {"title": title, "figure": figure, "unit": unit, "budget": budget, "met": met}
