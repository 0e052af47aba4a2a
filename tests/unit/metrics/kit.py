"""Open instances of the shipped onboarding as rows, for the pure rules of the metrics."""

from __future__ import annotations

from topstitch.metrics.pending import Open
from topstitch.store.measures import AskedRow, OpenRow, StepRow

MINUTE = 60_000
START = 1_767_600_000_000


def row(name: str = "ins_1", **changes: object) -> OpenRow:
    base = OpenRow(
        instance=name, workflow="employee-onboarding", version="1.0.0", digest="sha256:test", stage="execution",
        status="running", started_ms=START, head_seq=9, wake_ms=None, lease_ms=None,
    )  # fmt: skip
    return base._replace(**changes)


def step(
    name: str, status: str, started: int | None = None, done: int | None = None, failed: int | None = None
) -> StepRow:
    return StepRow("ins_1", name, status, started, done, failed)


def opened(*steps: StepRow, asked: tuple[AskedRow, ...] = (), **changes: object) -> Open:
    return Open(row=row(**changes), steps={one.step: one for one in steps}, asked=asked)
