"""Decides where checkpoints go so that this installation cannot take them back.

An ``Anchor`` is a place outside: a folder on write-once storage, a git repository that
others hold copies of, an auditor's mailbox. What can be read back is compared by ``verify``;
until one has answered, the trail is "self-attested". A failing anchor stops nothing: what it
said is kept, and the next turn tries again. Anchors only ever add.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from topstitch.audit.check_bundle import Problem, parse_checkpoint, split_note
from topstitch.foundation.errors import OperatorError, TopstitchError
from topstitch.store import Store, ledger

GIT_SECONDS_MAX: Final = 60.0
NOTES_MAX: Final = 1_000
"""How many of an anchor's newest notes are read back."""

MAIL_EVERY: Final = timedelta(days=1)
"""An auditor reads one mail a day, and none every ten seconds."""

SendMail = Callable[[str, str], Awaitable[None]]
"""Sends a subject and a text to the auditors that the settings name."""


class Anchor(Protocol):
    """A place outside that keeps checkpoints."""

    name: str

    async def publish(self, note: str) -> str:
        """Put a checkpoint there; return what shows that it is there. Harmless when it is there already."""
        ...

    async def notes(self) -> Sequence[str]:
        """Return the newest checkpoints kept there; none when they cannot be read back."""
        ...


async def anchor_newest(store: Store, anchors: Sequence[Anchor], now: datetime) -> list[ledger.Anchoring]:
    """Publish the newest checkpoint at every anchor, and keep what each answered."""
    newest = await ledger.newest_checkpoint(store)
    if newest is None:
        return []
    made = []
    for anchor in anchors:
        if isinstance(anchor, MailAnchor) and not anchor.is_due(now):
            continue
        receipt, problem = None, None
        try:
            receipt = await anchor.publish(newest.note)
        except TopstitchError as error:
            problem = error.message
        anchoring = ledger.Anchoring(newest.number, anchor.name, now, receipt, problem)
        await ledger.keep_anchoring(store, anchoring)
        made.append(anchoring)
    return made


class FolderAnchor:
    """One file per checkpoint, written once and then read-only; meant for write-once storage."""

    def __init__(self, folder: Path, name: str = "folder") -> None:
        self.name, self._folder = name, folder

    async def publish(self, note: str) -> str:
        """Write the file, unless it is there."""
        path = self._folder / file_name(note)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(note)
            path.chmod(0o444)
        except FileExistsError:
            if path.read_text(encoding="utf-8") != note:
                raise OperatorError(
                    "anchor-differs",
                    f"{path} holds another checkpoint of this size and root; run `topstitch audit verify`",
                ) from None
        except OSError as error:
            raise OperatorError(
                "anchor-unwritable",
                f"the anchor {self._folder} cannot be written to: {error.strerror};"
                " mend it, or take it out of the settings",
            ) from error
        return str(path)

    async def notes(self) -> Sequence[str]:
        """Read the newest files."""
        if not self._folder.is_dir():
            return []
        files = sorted(path for path in self._folder.iterdir() if path.suffix == ".checkpoint")
        return [path.read_text(encoding="utf-8") for path in files[-NOTES_MAX:]]


class GitAnchor:
    """One commit per checkpoint, and a push where the repository has somewhere to push to."""

    def __init__(self, folder: Path, name: str = "git") -> None:
        self.name, self._folder = name, folder

    async def publish(self, note: str) -> str:
        """Commit the file, unless it is there; return the commit."""
        name = file_name(note)
        if not (self._folder / ".git").exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            await self._git("init", "--quiet")
        if not (self._folder / name).exists():
            (self._folder / name).write_text(note, encoding="utf-8")
        await self._git("add", "--", name)
        if await self._git("status", "--porcelain", "--", name):
            checkpoint = parse_checkpoint(split_note(note)[0])
            await self._git(
                "commit",
                "--quiet",
                "--message",
                f"checkpoint: {checkpoint.size} leaves of {checkpoint.origin}",
                "--",
                name,
            )
        if await self._git("remote"):
            await self._git("push", "--quiet")
        return await self._git("log", "-1", "--format=%H", "--", name)

    async def notes(self) -> Sequence[str]:
        """Read the files as they were when they were added, whatever became of them later."""
        if not (self._folder / ".git").exists():
            return []
        log = await self._git(
            "log", "--diff-filter=A", "--format=>%H", "--name-only", f"--max-count={NOTES_MAX}", "--", "*.checkpoint"
        )
        notes, commit = [], ""
        for line in log.splitlines():
            if line.startswith(">"):
                commit = line[1:]
            elif line:
                notes.append(await self._git("show", f"{commit}:{line}") + "\n")
        return notes[::-1]

    async def _git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=Topstitch", "-c", "user.email=topstitch@localhost", "-c", "commit.gpgsign=false")
        try:
            process = await asyncio.create_subprocess_exec(
                "git", "-C", str(self._folder), *identity, *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await asyncio.wait_for(process.communicate(), GIT_SECONDS_MAX)
        except (OSError, TimeoutError) as error:
            raise self._failed(arguments[0], str(error) or "no answer") from error
        if process.returncode:
            raise self._failed(arguments[0], " ".join(err.decode(errors="replace").split()))
        return out.decode().strip()

    def _failed(self, verb: str, said: str) -> OperatorError:
        return OperatorError(
            "anchor-git",
            f"git {verb} failed in the anchor {self._folder} ({said}); "
            "mend the repository, or take the anchor out of the settings",
        )


class MailAnchor:
    """Mails a checkpoint to the auditors once a day. It cannot be read back: they compare."""

    def __init__(self, send: SendMail, name: str = "mail", last: datetime | None = None) -> None:
        """``last`` is when one was sent last."""
        self.name, self._send, self._last = name, send, last
        self._asked_at: datetime | None = last

    def is_due(self, now: datetime) -> bool:
        """Whether a mail is due: the first, and one a day; from then on a failing one is tried at every turn."""
        if self._last is not None and now - self._last < MAIL_EVERY:
            return False
        self._asked_at = now
        return True

    async def publish(self, note: str) -> str:
        """Send it."""
        checkpoint = parse_checkpoint(split_note(note)[0])
        subject = f"Topstitch checkpoint: {checkpoint.size} leaves of {checkpoint.origin}"
        await self._send(subject, f"Keep this; `topstitch audit consistency` compares it with a later one.\n\n{note}")
        self._last = self._asked_at
        return subject

    async def notes(self) -> Sequence[str]:
        """Nothing: the mailbox is the auditor's."""
        return []


def file_name(note: str) -> str:
    """Return under what name an anchor keeps a checkpoint: by size and root, so that two of one size do not collide."""
    try:
        checkpoint = parse_checkpoint(split_note(note)[0])
    except Problem as problem:
        raise OperatorError("anchor-note", f"{problem}; run `topstitch audit verify`") from problem
    key_id = split_note(note)[1][0][1]
    return f"{checkpoint.size:020d}-{checkpoint.root[:8].hex()}-{key_id.hex()}.checkpoint"
