"""Decides what the names in a definition stand for: systems, actions, events.

``check`` resolves each name once; a name that stands for nothing is reported here, with
the nearest that does, and nowhere else. Effects are checked in passing: what must only
read may not write.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topstitch.language.load import Path
from topstitch.language.report import Report, nearest, place_in
from topstitch.language.schema import Workflow
from topstitch.model.action import ActionContract, Contracts, Effect, EventContract, SystemContract
from topstitch.model.finding import Span


@dataclass(slots=True)
class Names:
    """The systems of one workflow, and every action it names, resolved."""

    workflow: Workflow
    contracts: Contracts
    report: Report
    systems: dict[str, SystemContract] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def resolve_systems(self) -> None:
        """Find the contract behind each alias."""
        for alias, ref in self.workflow.systems.items():
            contract = self.contracts.get(ref)
            if contract is not None:
                self.systems[alias] = contract
            elif not self.report.touched(("systems", alias)):
                self.report.add("unknown-connector", ("systems", alias), *self._connector_trouble(ref))

    def _connector_trouble(self, ref: str) -> tuple[str, str | None]:
        name = ref.split("@", maxsplit=1)[0]
        versions = sorted(known for known in self.contracts if known.split("@")[0] == name)
        if versions:
            return f"there is no connector '{ref}'", "installed is " + ", ".join(versions)
        return f"there is no connector '{ref}'", nearest(ref, self.contracts)

    def action(self, ref: str, path: Path) -> ActionContract | None:
        """Return the contract of ``alias.action``; report what is wrong with the name."""
        system = self._system(ref, path)
        if system is None:
            return None
        name = ref.split(".")[1]
        action = system.actions.get(name)
        if action is None and not self.report.touched(path):
            self.report.add(
                "unknown-action",
                path,
                f"{system.ref} has no action '{name}'",
                nearest(name, system.actions),
                span=self._part(ref, name, path),
            )
        return action

    def read(self, ref: str, path: Path, where: str, code: str = "write-in-check") -> ActionContract | None:
        """Return the contract of an action that must only read; ``None`` as well when it does more."""
        action = self.action(ref, path)
        if action is not None and action.effect is not Effect.READ:
            verb = "writes" if action.effect is Effect.WRITE else "sends a message"
            remedy = "move it to a step" if code == "write-in-context" else "use an action that reads"
            self.report.add(code, path, f"{ref} {verb}; {where} is read-only", remedy)
            return None
        return action

    def event(self, ref: str, path: Path) -> EventContract | None:
        """Return the contract of ``alias.event``."""
        system = self._system(ref, path)
        if system is None:
            return None
        name = ref.split(".")[1]
        event = system.events.get(name)
        if event is None and not self.report.touched(path):
            self.report.add(
                "unknown-event",
                path,
                f"{system.ref} has no event '{name}'",
                nearest(name, system.events),
                span=self._part(ref, name, path),
            )
        return event

    def unused(self) -> None:
        """Warn of systems that nothing names."""
        for alias in self.workflow.systems:
            if alias not in self.used and not self.report.touched(("systems", alias)):
                self.report.add(
                    "unused-system",
                    ("systems", alias),
                    f"nothing uses '{alias}'",
                    "remove it",
                    key=True,
                    severity="warning",
                )

    def _system(self, ref: str, path: Path) -> SystemContract | None:
        alias = ref.split(".", maxsplit=1)[0]
        self.used.add(alias)
        if alias not in self.workflow.systems:
            if not self.report.touched(path) and not self.report.touched(("systems", alias)):
                self.report.add(
                    "unknown-system",
                    path,
                    f"there is no system '{alias}'",
                    self._alias_of(alias) or nearest(alias, self.workflow.systems),
                    span=self._part(ref, alias, path),
                )
            return None
        return self.systems.get(alias)

    def _alias_of(self, connector: str) -> str | None:
        """Say the alias of a connector that was written in its stead."""
        found = [alias for alias, ref in self.workflow.systems.items() if ref.split("@")[0] == connector]
        return f"steps name the alias: did you mean '{found[0]}'?" if len(found) == 1 else None

    def _part(self, ref: str, part: str, path: Path) -> Span | None:
        """Return the place of one half of ``alias.action``."""
        written = self.report.document.at(path)
        return place_in(self.report.document, path, ref.rindex(part), len(part)) if written == ref else None
