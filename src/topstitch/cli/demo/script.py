"""Carries the script out in the systems: hires, an outage, a mistake in Entra ID and its repair.

Every act goes through the simulators' control plane, is noted beside their records, and may be
repeated without harm: a demo that was killed does what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from topstitch.cli.demo.cast import HIRES, MENDED_AFTER, OUTAGE, PLANTED_AFTER, VICTIM, Hire
from topstitch.cli.demo.story import Story
from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.simulators.host import Simulators

NOTES: Final = "_demo"
"""The kind of record under which the demo notes what it has done."""


class Script:
    """What the demo does to the systems, and when."""

    def __init__(self, sims: Simulators, now: Callable[[], datetime]) -> None:
        self._sims, self._now = sims, now
        self._notes = sims["workday"].records
        self.story: Story | None = None

    @property
    def began(self) -> datetime:
        """When the story began; noted at the first start."""
        note = self._notes.get(NOTES, "began")
        if note is None:
            note = self._notes.put(NOTES, "began", {"at": rfc3339(self._now())})
        return parse_time(note["at"])

    def set_up(self, hook_url: str) -> None:
        """Point the notifications at us, those too that an earlier process could not deliver; begin the outage."""
        workday = self._sims["workday"]
        workday.configure({"hook_url": hook_url})
        for waiting in workday.records.find("_outbox", state="waiting"):
            workday.records.change("_outbox", waiting["id"], {"url": hook_url})
        self._sims["servicenow"].faults.add(OUTAGE)

    async def due(self) -> datetime | None:
        """Return when the script does something next."""
        left = [when for when, name, _ in self._acts() if not self._is_done(name)]
        return min(left) if left else None

    async def act(self) -> bool:
        """Do what is due; return whether that was anything."""
        done = False
        for when, name, do in self._acts():
            if when <= self._now() and not self._is_done(name):
                do()
                self._notes.put(NOTES, name, {"at": rfc3339(self._now())})
                done = True
        await self._sims["workday"].hires.sender.settled()
        return done

    def _acts(self) -> list[tuple[datetime, str, Callable[[], None]]]:
        began = self.began
        acts: list[tuple[datetime, str, Callable[[], None]]] = [
            (began + hire.after, hire.notification, _hiring(self, hire)) for hire in HIRES
        ]
        acts.append((began + PLANTED_AFTER, "plant", self._plant))
        acts.append((began + MENDED_AFTER, "mend", self._mend))
        return acts

    def _is_done(self, name: str) -> bool:
        return self._notes.get(NOTES, name) is not None

    def hire(self, hire: Hire) -> None:
        """Complete a hire in Workday; its notification goes out."""
        self._aside(f"Workday: {hire.name} is hired as {hire.profile} ({hire.why})")
        start = (self.began + timedelta(days=14)).date().isoformat()
        asked: dict[str, Any] = {
            "id": hire.notification,
            "workerId": hire.worker_id,
            "first": hire.first,
            "last": hire.last,
            "jobProfile": hire.profile,
            "startDate": start,
        }
        workday = self._sims["workday"]
        if workday.records.get("_outbox", hire.notification) is None:
            workday.hires.hire(asked)

    def _plant(self) -> None:
        self._aside(f"somebody disables the account of {VICTIM.name} in Entra ID by mistake; Topstitch is not told")
        self._account({"accountEnabled": False})

    def _mend(self) -> None:
        self._aside(f"an identity administrator reads the ticket and enables the account of {VICTIM.name} again")
        self._account({"accountEnabled": True})

    def _account(self, fields: dict[str, Any]) -> None:
        directory = self._sims["entra-id"].records
        for user in directory.find("users", employeeId=VICTIM.worker_id):
            directory.change("users", user["id"], fields)

    def _aside(self, text: str) -> None:
        if self.story is not None:
            self.story.aside(self._now(), text)


def _hiring(script: Script, hire: Hire) -> Callable[[], None]:
    def act() -> None:
        script.hire(hire)

    return act
