"""Tells the demo's story as it happens: one plain sentence for each record that is worth one.

It follows the journal, so it tells the same whoever did something: the engine, a person at
another terminal, or the script. What was told before a restart is not told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from topstitch.bootstrap.installation import Installation
from topstitch.cli.screen import Screen
from topstitch.cli.tale import Teller
from topstitch.cli.when import here
from topstitch.foundation.timetext import rfc3339
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.store import instances

PAGE: Final = 5000
COLOURS: Final = ("cyan", "yellow", "magenta", "green", "blue")
LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Question:
    """What waits for somebody: about what, for whom, and what they type."""

    title: str
    name: str
    words: str


class Story:
    """What has been told, and what has not."""

    def __init__(self, house: Installation, screen: Screen, typed: Callable[[str], str], *, prompts: bool) -> None:
        self._house, self._screen, self._typed, self._prompts = house, screen, typed, prompts
        self._position = 0
        self._names: dict[str, str] = {}
        self._reminders: set[tuple[str, str]] = set()
        self._tellers: dict[str, Teller] = {}
        self._heard = asyncio.Event()
        self._telling = asyncio.Lock()

    async def forget_the_past(self) -> int:
        """Skip what was recorded before; return how many records that is."""
        count = 0
        while page := await instances.stored_records(
            self._house.ports.store, after_position=self._position, limit=PAGE
        ):
            self._position, count = page[-1].position, count + len(page)
        return count

    async def follow(self) -> None:
        """Tell whatever is recorded, until cancelled."""
        stop = self._house.ports.store.listen(self._heard.set)
        try:
            while True:
                await self.catch_up()
                self._heard.clear()
                with_time = asyncio.create_task(self._heard.wait())
                await asyncio.wait({with_time}, timeout=LOOK_SECONDS)
                with_time.cancel()
        finally:
            stop()

    async def catch_up(self) -> None:
        """Tell what is new."""
        async with self._telling:
            await self._tell_new()

    async def _tell_new(self) -> None:
        store = self._house.ports.store
        page = await instances.stored_records(store, after_position=self._position, limit=PAGE)
        if not page:
            return
        self._position = page[-1].position
        firsts: dict[str, int] = {}
        for stored in page:
            firsts[stored.instance] = min(firsts.get(stored.instance, stored.seq), stored.seq)
        found: list[tuple[Record, str | None]] = []
        for instance, first in firsts.items():
            records = await instances.records(store, instance)
            teller = await self._teller(instance, records[0])
            last = max(stored.seq for stored in page if stored.instance == instance)
            found += [(r, teller.sentence(r)) for r in records[first - 1 : last]]
        for record, sentence in sorted(found, key=lambda pair: (pair[0].at, pair[0].instance, pair[0].seq)):
            if sentence and not self._was_said(record, sentence):
                self.say(record, sentence)
                self._prompt(record)

    def _was_said(self, record: Record, sentence: str) -> bool:
        """Whether this is a reminder that was told before: the first is news, the rest is noise."""
        if record.kind != Kind.APPROVAL_REMINDED:
            return False
        known = (record.instance, sentence) in self._reminders
        self._reminders.add((record.instance, sentence))
        return known

    def say(self, record: Record, sentence: str) -> None:
        """Print one line of the story."""
        name = self._names.get(record.instance, record.instance)
        colour = (
            COLOURS[list(self._names).index(record.instance) % len(COLOURS)] if record.instance in self._names else None
        )
        self._screen.data(
            {"at": rfc3339(record.at), "instance": record.instance, "for": name, "kind": record.kind, "text": sentence}
        )
        text = sentence.removeprefix(f"{name}: ")
        self._screen.print(
            f"{here(record.at).strftime('%a %H:%M')}  {self._screen.style(f'{name:<14}', fg=colour)} {text}"
        )

    def aside(self, when: Any, text: str) -> None:
        """Print what happens outside the engine."""
        self._screen.data({"at": rfc3339(when), "kind": "aside", "text": text})
        self._screen.print(f"{_clock(when)}  {self._screen.style('               ' + text, italic=True)}")

    async def _teller(self, instance: str, first: Record) -> Teller:
        if instance not in self._tellers:
            self._tellers[instance] = Teller(await self._house.plans.load(first.body["digest"]), here)
            title = first.body["title"]
            self._names[instance] = title if isinstance(title, str) else instance
        return self._tellers[instance]

    def _prompt(self, record: Record) -> None:
        """Say how to answer, where somebody may."""
        if not self._prompts or record.kind != Kind.APPROVAL_ASKED:
            return
        people = record.body["people"]
        if isinstance(people, list) and people:
            self.show_command(
                f"to answer as {people[0].get('name')}", approving(str(people[0]["id"]), record.body["approval"])
            )

    def show_command(self, what_for: str, words: str) -> None:
        """Say how somebody at another terminal does something."""
        if not self._prompts:
            return
        self._screen.print(self._screen.style(f"{'':27}{what_for}: {self._typed(words)}", bold=True))

    def stand(self, questions: Sequence[Question]) -> None:
        """Say that the clock stands, and how to answer each question that is open."""
        if not self._prompts or not questions:
            return
        self._screen.print()
        waiting = "this waits" if len(questions) == 1 else f"these {len(questions)} wait, the most urgent first"
        said = f"Your turn: the clock stands still while {waiting}. Answer in the console, or from another terminal."
        self._screen.print(self._screen.style(said, bold=True))
        for each in questions:
            self._screen.print(f"  {each.title}, as {each.name}:\n    {self._typed(each.words)}")
        self._screen.print()


def approving(person: str, approval: str) -> str:
    """Return the command with which somebody approves."""
    return f"approvals approve {approval} --as {person}"


def handing_in(person: str, task: str, outputs: Mapping[str, str]) -> str:
    """Return the command with which somebody hands a task in."""
    given = " ".join(f"--output {name}={value}" for name, value in outputs.items())
    return f"tasks done {task} {given} --as {person}"


def _clock(moment: datetime) -> str:
    return here(moment).strftime("%a %H:%M")
