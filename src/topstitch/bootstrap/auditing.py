"""Wires the audit room into an installation: its signing key, its anchors, the sequencer beside the engine.

``serve`` holds ``sealing`` around the engine; the ``audit`` commands and ``doctor`` ask for keys, anchors and the
verdict. The key that signs lies in the data folder, its public half beside it; whoever signs holds a shared lock
there, a rotation an exclusive one, so that nobody signs with a key that is no longer in force. It decides no content.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import orjson

from topstitch.audit.anchors import Anchor, FolderAnchor, GitAnchor, MailAnchor, SendMail
from topstitch.audit.check_bundle import Problem, VerifyKey, parse_key
from topstitch.audit.checkpoint import (
    KEY_FILE,
    KEY_ROTATED,
    SigningKey,
    new_signing_key,
    read_or_make_key,
    write_key,
)
from topstitch.audit.sequencer import Sequencer, Turn
from topstitch.audit.verify import Verdict, verify
from topstitch.bootstrap.credentials import reveal_stored
from topstitch.connectors.connections import load_connections
from topstitch.connectors.notices import send_plain
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import ConflictError, OperatorError, TopstitchError
from topstitch.foundation.timetext import rfc3339
from topstitch.model.kinds import Kind
from topstitch.model.orders import Result
from topstitch.model.record import Actor, Draft, Stage
from topstitch.settings import Settings
from topstitch.store import Store, ledger
from topstitch.store.database import MEMORY_URL
from topstitch.store.ledger_reader import open_ledger

LOG: Final = logging.getLogger("topstitch.audit")
PRODUCTION: Final = "prod"
STOP_SECONDS_MAX: Final = 20.0
"""How long the last checkpoint and its anchors may take when the engine has stopped."""
PROCESSES_MAX: Final = 4
_LOCK: Final = ".lock"
_PUBLIC: Final = ".pub"
_NEXT: Final = ".next"
NEVER: Final[Mapping[str, datetime]] = {}
T = TypeVar("T")


# --- The engine's companion --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def sealing(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[Sequencer]:
    """Run the sequencer for the time of an ``async with`` block; at its end all there is gets signed and anchored."""
    with signing(settings):
        sequencer = await sequencer_of(settings, store, clock)
        warning = self_attested(settings)
        if warning:
            LOG.warning("%s", warning)
        stop = asyncio.Event()
        going = asyncio.create_task(sequencer.run(stop), name="sequencer")
        try:
            yield sequencer
        finally:
            stop.set()
            await _ended(going)


async def _ended(going: asyncio.Task[None]) -> None:
    try:
        await asyncio.wait_for(going, STOP_SECONDS_MAX)
    except TimeoutError:
        LOG.warning("the last checkpoint was not anchored within %d seconds; the next start does it", STOP_SECONDS_MAX)
    except TopstitchError as error:
        LOG.warning("the last checkpoint is missing (%s); the next start makes it", error.message)


async def seal_now(settings: Settings, store: Store, clock: Clock) -> Turn:
    """Place all there is, sign and anchor it at once."""
    with signing(settings):
        sequencer = await sequencer_of(settings, store, clock)
        await sequencer.place()
        return await sequencer.turn(now_too=True)


async def sequencer_of(settings: Settings, store: Store, clock: Clock) -> Sequencer:
    """Return the installation's sequencer, its key made if there was none; to be used inside ``signing``."""
    mailed = (
        await _aside(store, lambda: _mailed(store)) if any(a.startswith("mail:") for a in settings.anchors) else NEVER
    )
    anchors = anchors_of(settings, lambda to: _mailer(settings, store, clock, to), mailed)
    return _Heard(store, await signer_of(settings, store), clock, anchors)


class _Heard(Sequencer):
    """A sequencer whose trouble is heard in the log, once for each kind."""

    _said: str | None = None

    async def turn(self, *, now_too: bool = False) -> Turn:
        """Take a turn and say what went wrong."""
        try:
            done = await super().turn(now_too=now_too)
        except TopstitchError as error:
            self._say(error.message)
            raise
        except Exception as error:
            LOG.exception("the audit sequencer failed")
            raise OperatorError(
                "sequencer-failed",
                f"the audit sequencer failed ({error!r}); it tries again; report it if the log keeps saying so",
            ) from error
        problems = [one.problem for one in done.anchored if one.problem]
        if problems:
            self._say("; ".join(problems))
        elif done.anchored or done.signed:
            self._said = None
        return done

    def _say(self, message: str) -> None:
        if message != self._said:
            LOG.warning("%s", message)
        self._said = message


# --- Settings ----------------------------------------------------------------------------------


def anchors_of(
    settings: Settings,
    mailer: Callable[[str], SendMail] = lambda _: _unsent,
    mailed: Mapping[str, datetime] = NEVER,
) -> list[Anchor]:
    """Return the anchors of the settings; a relative path begins at the data folder. Who only reads needs no mailer."""
    made: list[Anchor] = []
    for text in settings.anchors:
        kind, _, place = text.partition(":")
        folder = settings.data / Path(place).expanduser()
        match kind:
            case "folder":
                made.append(FolderAnchor(folder, text))
            case "git":
                made.append(GitAnchor(folder, text))
            case _:
                made.append(MailAnchor(mailer(place), text, mailed.get(text)))
    return made


def _mailed(store: Store) -> Mapping[str, datetime]:
    """Return when each anchor took a checkpoint last."""
    with open_ledger(store) as reader:
        return {one.anchor: one.at for one in reader.anchorings() if one.problem is None}


def _mailer(settings: Settings, store: Store, clock: Clock, to: str) -> SendMail:
    """Return what mails a checkpoint, by the connection that tells people."""

    async def send(subject: str, text: str) -> None:
        connections = load_connections(settings.connections, check_credentials=False)
        await reveal_stored(store, connections)
        registry = Registry(connections, clock)
        try:
            outcome = await send_plain(registry, to, subject, text, f"checkpoint:{digest(text)}")
        finally:
            await registry.close()
        if outcome.result is not Result.OK:
            said = outcome.problem.message if outcome.problem else "[notify] names no connection"
            raise OperatorError(
                "anchor-mail", f"the checkpoint was not mailed to {to} ({said}); mend it, or take the anchor out"
            )

    return send


async def _unsent(subject: str, _text: str) -> None:
    raise OperatorError("anchor-mail", f"{subject!r} was not mailed: nobody sends here; topstitch serve does")


def self_attested(settings: Settings) -> str | None:
    """Say that production has no anchor, or nothing."""
    if settings.anchors or settings.environment != PRODUCTION:
        return None
    return (
        "the audit trail is self-attested: no checkpoint is kept where this installation cannot change it; "
        'name at least one place outside in topstitch.toml, such as anchors = ["folder:PATH"]'
    )


def anchor_findings(settings: Settings, store: Store) -> Iterator[tuple[str, str, str]]:
    """Yield how each anchor stands, for ``doctor``: ``ok``, ``warn`` or ``bad``; its name; in words."""
    warning = self_attested(settings)
    if warning:
        yield "warn", "anchors", warning
    with open_ledger(store) as reader:
        last = {one.anchor: one for one in reader.anchorings()}
    for name in settings.anchors:
        if name not in last:
            yield "warn", name, "has no checkpoint yet; topstitch serve brings them, or topstitch audit checkpoint"
        elif last[name].problem:
            yield "bad", name, f"did not take the newest checkpoint: {last[name].problem}"
        else:
            yield "ok", name, f"holds a checkpoint of {rfc3339(last[name].at)}"


# --- Keys --------------------------------------------------------------------------------------


def key_path(settings: Settings) -> Path:
    """Return where the key that signs checkpoints lies."""
    return settings.data / KEY_FILE


@contextlib.contextmanager
def signing(settings: Settings, *, alone: bool = False) -> Iterator[None]:
    """Hold the right to sign; ``alone``, as a rotation needs it, while nobody else does."""
    path = key_path(settings).with_suffix(_LOCK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OperatorError(
            "checkpoint-lock", f"{path} cannot be opened ({error.strerror}); let the user that runs topstitch write it"
        ) from error
    try:
        _take(handle, alone=alone)
        yield
    finally:
        os.close(handle)


def _take(handle: int, *, alone: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_NB | (fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
    except BlockingIOError:
        other = "somebody signs with this key, such as topstitch serve" if alone else "the key is being rotated"
        raise ConflictError("checkpoint-key-busy", f"{other}; stop it or wait for it, then try again") from None


@contextlib.asynccontextmanager
async def vouching(settings: Settings, store: Store) -> AsyncIterator[SigningKey | None]:
    """Hold the key that vouches for what is handed out; nothing where only its public half can be read."""
    if not os.access(key_path(settings), os.R_OK):
        yield None
        return
    with signing(settings):
        yield await signer_of(settings, store)


async def signer_of(settings: Settings, store: Store) -> SigningKey:
    """Return the key that signs; make it where nothing was ever signed; finish a rotation that was interrupted."""
    path = key_path(settings)
    newest = await _newest_rotation(store)
    _settle(path, newest)
    signed = await ledger.newest_checkpoint(store) is not None
    key = read_or_make_key(path, signed_before=signed)
    if newest is not None and newest != str(key.key):
        raise OperatorError(
            "checkpoint-key-old",
            f"{path} holds a key that was rotated; put the present one, {newest}, in its place",
        )
    if key.key not in _public(path):
        _write_public(path, [*(_public(path) if signed else ()), key.key])
    return key


async def _newest_rotation(store: Store) -> str | None:
    """Return the key that the newest rotation handed over to, or that was begun after a loss."""

    def read() -> str | None:
        with open_ledger(store) as reader:
            own = [r for r in reader.records(ledger.INSTALLATION) if r.kind in (KEY_ROTATED, Kind.KEY_LOST)]
            return str(orjson.loads(own[-1].text)["body"]["new"]) if own else None

    return await _aside(store, read)


def _settle(path: Path, newest: str | None) -> None:
    """Put the key of a rotation that was written down in its place; forget one that was not."""
    pending = path.with_suffix(_NEXT)
    if not pending.exists():
        return
    if newest == str(read_or_make_key(pending, signed_before=True).key):
        pending.replace(path)
    else:
        pending.unlink()


async def rotate(settings: Settings, store: Store, clock: Clock, actor: Actor) -> tuple[VerifyKey, VerifyKey]:
    """Hand over to a new key; return the old and the new one. Nobody else may sign meanwhile."""
    with signing(settings, alone=True):
        path = key_path(settings)
        old = await signer_of(settings, store)
        new = new_signing_key(old.key.name)
        write_key(path.with_suffix(_NEXT), new)
        await Sequencer(store, old, clock).rotate(new, actor)
        path.with_suffix(_NEXT).replace(path)
        _write_public(path, [new.key if key == old.key else key for key in _public(path)])
        return old.key, new.key


async def begin_anew(settings: Settings, store: Store, clock: Clock, actor: Actor) -> VerifyKey:
    """Begin a new key because the old one is lost: nothing links the two but the auditors' word."""
    with signing(settings, alone=True):
        path = key_path(settings)
        _settle(path, await _newest_rotation(store))
        if path.exists():
            raise ConflictError("checkpoint-key-there", f"{path} is there; rotate it without --lost")
        newest = await ledger.newest_checkpoint(store)
        new = new_signing_key(newest.note.partition("\n")[0] if newest else None)
        write_key(path.with_suffix(_NEXT), new)
        body = {"new": str(new.key), "known": [str(key) for key in _public(path)]}
        draft = Draft(kind=Kind.KEY_LOST, at=clock.now(), actor=actor, stage=Stage.AUDIT, body=body)
        await ledger.note_down(store, draft)
        path.with_suffix(_NEXT).replace(path)
        _write_public(path, [*_public(path), new.key])
        sequencer = Sequencer(store, new, clock)
        await sequencer.place()
        await sequencer.sign(anew=True)
        return new.key


def trusted_keys(settings: Settings) -> list[VerifyKey]:
    """Return the public keys that this data folder vouches for; none where nothing was ever signed."""
    path = key_path(settings)
    known = _public(path)
    if not known and path.exists():
        return [read_or_make_key(path, signed_before=True).key]
    return known


def _public(path: Path) -> list[VerifyKey]:
    file = path.with_suffix(_PUBLIC)
    try:
        return [parse_key(line) for line in file.read_text("ascii").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, Problem) as error:
        raise OperatorError(
            "public-key-damaged", f"{file} cannot be read ({error}); restore it from your backup"
        ) from error


def _write_public(path: Path, keys: Sequence[VerifyKey]) -> None:
    new = path.with_suffix(f"{_PUBLIC}.new")
    new.write_text("".join(f"{key}\n" for key in keys), "ascii")
    new.replace(path.with_suffix(_PUBLIC))


# --- Verification ------------------------------------------------------------------------------


async def verdict_of(
    settings: Settings,
    store: Store,
    *,
    keys: Sequence[VerifyKey] = (),
    outside: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Verdict, list[str]]:
    """Verify everything, with the anchors of the settings and what else lies ``outside``.

    Returns with the verdict why an anchor could not be asked. ``keys`` are an auditor's own, in place of the folder's.
    """
    notes: dict[str, Sequence[str]] = dict(outside or {})
    silent: list[str] = []
    for anchor in anchors_of(settings):
        try:
            notes[anchor.name] = await anchor.notes()
        except (TopstitchError, OSError, UnicodeDecodeError) as error:
            silent.append(f"anchor {anchor.name} cannot be asked: {getattr(error, 'message', error)}")
    trusted = list(keys) or trusted_keys(settings)
    if not trusted and await ledger.newest_checkpoint(store) is not None:
        raise OperatorError(
            "no-public-key",
            f"{key_path(settings).with_suffix(_PUBLIC)} is missing, so nothing says whose signatures count; "
            "restore it, or give the public key with --key",
        )

    def look() -> Verdict:
        with open_ledger(store) as reader:
            return verify(reader, keys=trusted, anchors=notes, processes=min(os.cpu_count() or 1, PROCESSES_MAX))

    return await _aside(store, look), silent


async def _aside(store: Store, look: Callable[[], T]) -> T:
    """Read in another thread, unless the database lives in this one."""
    return look() if store.url == MEMORY_URL else await asyncio.to_thread(look)
