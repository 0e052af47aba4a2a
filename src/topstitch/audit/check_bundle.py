"""Checks an evidence pack of Topstitch on any machine: this one file, Python 3.9 or newer, nothing else.

    python3 check_bundle.py FOLDER_OR_BUNDLE [--key KEY_OR_FILE] [--last]

It recomputes the chain of the records, their places in the Merkle tree (RFC 6962), the
signatures of the checkpoint and of the statement which record was the last (C2SP signed
notes, Ed25519), every disclosed personal value, and rebuilds the readable files beside the
bundle from the records. It needs no database and no network, changes nothing, and uses the
``cryptography`` package when it is there and its own Ed25519 when it is not. Exit code 0:
everything holds; 20: something does not; 2: not a bundle.

Topstitch itself uses these functions too, so that there is one definition of what holds.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = "topstitch-bundle/2"
OLD_FORMAT = "topstitch-bundle/1"
"""Packs from before the statement of the last record: they are read, and the report says what they cannot show."""
EXIT_TAMPERED, EXIT_USAGE = 20, 2
GENESIS = bytes(32)
KEY_TYPE_ED25519 = b"\x01"
NOTE_BYTES_MAX = 1 << 20
ROTATION = "topstitch key rotation"
LAST = "topstitch last record"
_DASH = "\u2014 "


class Problem(Exception):  # noqa: N818 -- read by auditors, not by programmers
    """Something does not hold. The text says what, and where."""


class VerifyKey(NamedTuple):
    """A public key as notes name it: ``<name>+<key id>+<base64>``."""

    name: str
    key_id: bytes
    public: bytes

    def __str__(self) -> str:
        """Write it as it is handed round."""
        data = base64.b64encode(KEY_TYPE_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{data}"


class Checkpoint(NamedTuple):
    """The signed root of the tree at one size."""

    origin: str
    size: int
    root: bytes


class Report(NamedTuple):
    """What was checked, for people.

    ``trusted`` says whether the key came from outside the pack, ``last`` whether the installation signed which
    record was the last when the pack was made.
    """

    instance: str
    records: int
    ended: bool
    checkpoint: Checkpoint
    key: VerifyKey
    trusted: bool
    disclosed: int
    files: tuple[str, ...]
    last: bool

    def lines(self) -> list[str]:
        """Return the report as sentences."""
        end = "it has ended" if self.ended else "it had not ended when this was made, so later records may exist"
        key = (
            "the key that you gave"
            if self.trusted
            else "THE KEY THAT CAME WITH THE PACK: compare it with the published one"
        )
        whole = (
            f"Its last record then was number {self.records}, which the installation signed: none was cut from its end."
            if self.last
            else "NOTHING SAYS WHICH RECORD WAS THE LAST: later ones may have been cut away; ask for a new pack."
        )
        return [
            f"{self.instance}: {self.records} records, none changed or moved, none missing between; {end}.",
            whole,
            f"All of them are in the tree of {self.checkpoint.size} leaves at {self.checkpoint.origin}.",
            f"Its checkpoint is signed by {self.key.name}+{self.key.key_id.hex()}, {key}.",
            f"{self.disclosed} disclosed values open their commitments.",
            "Rebuilt from the records and equal: %s." % (", ".join(self.files) or "no readable files were given"),
        ]


# --- The bundle -------------------------------------------------------------------------------


def check(bundle: Mapping[str, Any], trusted: VerifyKey | None = None) -> Report:
    """Check everything in a bundle; raise ``Problem`` at the first thing that does not hold."""
    if bundle.get("format") not in (FORMAT, OLD_FORMAT):
        msg = "this is no bundle that this program knows (format {!r})".format(bundle.get("format"))
        raise Problem(msg)
    hashes = check_chain(str(bundle["instance"]), bundle["records"])
    keys = [trusted] if trusted else [parse_key(text) for text in bundle["keys"]]
    ring = follow_rotations(keys, bundle.get("rotations", ()))
    checkpoint, key = open_checkpoint(str(bundle["checkpoint"]), ring)
    for record, own in zip(bundle["records"], hashes, strict=False):
        proof = [base64.b64decode(text) for text in record["proof"]]
        leaf = hashlib.sha256(b"\x00" + own).digest()
        if inclusion_root(leaf, int(record["leaf"]), checkpoint.size, proof) != checkpoint.root:
            raise Problem(f"record {record['seq']} is not in the signed tree: it was changed, or never was there")
    last = check_last(bundle, hashes, checkpoint, ring)
    check_disclosures(bundle["records"], bundle.get("disclosed", ()))
    ended = any(json.loads(record["text"])["kind"] == "ended" for record in bundle["records"])
    count = len(bundle["records"])
    disclosed = len(bundle.get("disclosed", ()))
    return Report(str(bundle["instance"]), count, ended, checkpoint, key, trusted is not None, disclosed, (), last)


def check_chain(instance: str, records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Recompute the chain from the exact texts; return the hash of every record."""
    if not records:
        raise Problem("the bundle has no records")
    previous, hashes = GENESIS, []
    for number, record in enumerate(records, 1):
        text = record["text"]
        inside = json.loads(text)
        if inside.get("seq") != number or record["seq"] != number:
            raise Problem(f"record {number} is missing or out of place")
        if inside.get("instance") != instance:
            raise Problem(f"record {number} belongs to {inside.get('instance')}")
        previous = hashlib.sha256(b"\x00" + previous + text.encode("utf-8")).digest()
        if previous.hex() != record["hash"]:
            raise Problem(f"record {number} is not what was written: its text does not give its hash")
        hashes.append(previous)
    return hashes


def check_last(bundle: Mapping[str, Any], hashes: Sequence[bytes], checkpoint: Checkpoint, ring: Ring) -> bool:
    """See that the records end where the installation signed that they do; tell whether it signed that at all."""
    if bundle["format"] == OLD_FORMAT and "last" not in bundle:
        return False
    if "last" not in bundle:
        raise Problem("the statement which record was the last is missing")
    text, signers = signers_of(str(bundle["last"]), ring.all())
    lines = text.split("\n")
    if len(lines) != 7 or lines[0] != LAST or not (lines[3].isdigit() and lines[5].isdigit()):
        raise Problem("the statement which record was the last is damaged")
    _, origin, instance, seq, head, size, _ = lines
    if not any(k in signers and k.name == origin and (end is None or int(size) <= end) for k, _, end in ring.keys):
        raise Problem("the statement which record was the last is signed by no known key that was in force then")
    if (origin, instance, int(size)) != (checkpoint.origin, bundle["instance"], checkpoint.size):
        raise Problem("the statement which record was the last belongs to another pack")
    if int(seq) > len(hashes):
        raise Problem(f"the tail was cut: {instance} had {seq} records when this was made, and here are {len(hashes)}")
    if (int(seq), head) != (len(hashes), hashes[-1].hex()):
        raise Problem(f"the records do not end with record {seq}, which the installation signed as the last")
    return True


def check_disclosures(records: Sequence[Mapping[str, Any]], disclosed: Iterable[Mapping[str, Any]]) -> None:
    """See that each disclosed value opens the commitment at its place."""
    for one in disclosed:
        at = json.loads(records[one["seq"] - 1]["text"])["body"]
        for part in one["path"]:
            at = at[part]
        salt = base64.b64decode(one["salt"])
        own = hashlib.sha256(salt + canonical(one["value"])).digest()
        if at != {"c": base64.b64encode(own).decode()}:
            raise Problem(f"what was disclosed for record {one['seq']}, {one['path']}, is not what was recorded")


def canonical(value: Any) -> bytes:
    """Return the one byte form of a JSON value (RFC 8785 for text, whole numbers, booleans, null, lists and maps)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def opened(bundle: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records as values, with disclosed values in their places and others as ``{"withheld": ...}``."""
    records = [json.loads(record["text"]) for record in bundle["records"]]
    for one in bundle.get("disclosed", ()):
        at = records[one["seq"] - 1]
        for part in ("body", *one["path"][:-1]):
            at = at[part]
        at[one["path"][-1] if one["path"] else "body"] = {"disclosed": one["value"]}
    return [{**record, "body": _named(record["body"])} for record in records]


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"c"} and isinstance(value["c"], str) and len(value["c"]) == 44:
            return {"withheld": value["c"]}
        if set(value) == {"disclosed"}:
            return value["disclosed"]
        return {name: _named(inner) for name, inner in value.items()}
    return [_named(inner) for inner in value] if isinstance(value, list) else value


# --- The readable files, derived from the records ---------------------------------------------


def trigger_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what started it: event, source, time of receipt, result of the signature check."""
    return {"at": records[0]["at"], "by": records[0]["actor"], **records[0]["body"]}


def context_of(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what was read before anything was written: each with system, record, time and hash."""
    kinds = ("context.read", "context.skipped", "context.failed")
    return [{"seq": r["seq"], "at": r["at"], "kind": r["kind"], **r["body"]} for r in records if r["kind"] in kinds]


def attempts_of(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each try of each write: what was sent and when, the answer, how long it took, what it left behind."""
    tries: dict[tuple[str, int], dict[str, Any]] = {}
    payloads: dict[Any, Any] = {}
    for r in records:
        body = r["body"]
        if r["kind"] in ("decision", "act.proposed"):
            payloads[body.get("payload_digest")] = body.get("payload")
        elif r["kind"] == "act.intent":
            sent = {
                "seq": r["seq"],
                "sent_at": r["at"],
                "step": r["step"],
                "request": payloads.get(body.get("payload_digest")),
            }
            tries[body["act"], body["attempt"]] = {**body, **sent, "answer": None}
        elif r["kind"] in ("act.result", "act.in_doubt") and (body["act"], body["attempt"]) in tries:
            tries[body["act"], body["attempt"]]["answer"] = {"seq": r["seq"], "at": r["at"], "kind": r["kind"], **body}
    for r in records:
        if r["kind"] in ("act.looked_up", "act.read_back"):
            mine = [one for (act, _), one in tries.items() if act == r["body"]["act"] and one["seq"] < r["seq"]]
            if mine:
                mine[-1].setdefault("looked", []).append(
                    {"seq": r["seq"], "at": r["at"], "kind": r["kind"], **r["body"]}
                )
    return list(tries.values())


DECIDING = (
    "decision", "approval.asked", "approval.escalated", "approval.answered", "approval.closed", "step.declined",
    "step.skipped", "task.done", "task.failed", "mode.changed", "operator.commanded", "attempt.refused",
    "case.closed", "discrepancy.resolved", "plan.moved", "erased",
)  # fmt: skip


def decisions_of(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every decision with who made it: kind of actor (human, agent, policy, system) and id."""
    made = []
    for r in records:
        if r["kind"] in DECIDING:
            kind, _, name = r["actor"].partition(":")
            who = {"kind": kind, "id": name}
            made.append(
                {"seq": r["seq"], "at": r["at"], "kind": r["kind"], "step": r["step"], "actor": who, "what": r["body"]}
            )
    return made


def outcome_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how it ended, what it left behind, and what reconciliation found."""
    ends = [{"at": r["at"], **r["body"]} for r in records if r["kind"] == "ended"]
    steps = {
        r["step"]: {"kind": r["kind"], "at": r["at"], **r["body"]} for r in records if r["kind"].startswith("step.")
    }
    reads = [{"seq": r["seq"], "at": r["at"], **r["body"]} for r in records if r["kind"] == "check.read"]
    found = [
        {"seq": r["seq"], "at": r["at"], "kind": r["kind"], **r["body"]}
        for r in records
        if r["kind"].startswith("discrepancy.")
    ]
    cases = [
        {"seq": r["seq"], "at": r["at"], "kind": r["kind"], **r["body"]}
        for r in records
        if r["kind"].startswith("case.")
    ]
    return {
        "ended": ends[0] if ends else None,
        "steps": steps,
        "reconciliation": reads,
        "discrepancies": found,
        "cases": cases,
    }


READINGS: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], Any]] = {
    "trigger.json": trigger_of,
    "context.json": context_of,
    "attempts.json": attempts_of,
    "decisions.json": decisions_of,
    "outcome.json": outcome_of,
}


def readable_files(bundle: Mapping[str, Any]) -> dict[str, str]:
    """Return the readable files that belong to a bundle, by name."""
    records = opened(bundle)
    return {
        name: json.dumps(make(records), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, make in READINGS.items()
    }


def check_files(folder: Path, bundle: Mapping[str, Any]) -> tuple[str, ...]:
    """See that the readable files beside a bundle say what the records say."""
    seen = []
    for name, text in readable_files(bundle).items():
        path = folder / name
        if path.exists():
            if path.read_text(encoding="utf-8") != text:
                msg = f"{name} does not say what the records say; read the records instead"
                raise Problem(msg)
            seen.append(name)
    return tuple(seen)


# --- The tree ---------------------------------------------------------------------------------


def inclusion_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root to which a proof leads from a leaf (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise Problem(f"a tree of {size} leaves has no leaf {index}")
    at, last, node = index, size - 1, leaf
    for other in proof:
        if last == 0:
            raise Problem("an inclusion proof is too long")
        if at & 1 or at == last:
            node = _parent(other, node)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = _parent(node, other)
        at, last = at >> 1, last >> 1
    if last:
        raise Problem("an inclusion proof is too short")
    return node


def check_consistency(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """See that ``new`` continues ``old`` (RFC 9162, 2.1.4.2); raise ``Problem`` when it does not."""
    forked = Problem(
        f"the tree of {new.size} leaves does not continue the one of {old.size}: it was forked or rewritten"
    )
    if old.size > new.size:
        raise forked
    if old.size in (0, new.size):
        if proof or (old.size == new.size and old.root != new.root):
            raise forked
        return
    path = list(proof)
    if old.size & (old.size - 1) == 0:
        path.insert(0, old.root)
    if not path:
        raise forked
    at, last = old.size - 1, new.size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    left = right = path[0]
    for other in path[1:]:
        if last == 0:
            raise forked
        if at & 1 or at == last:
            left, right = _parent(other, left), _parent(other, right)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            right = _parent(right, other)
        at, last = at >> 1, last >> 1
    if left != old.root or right != new.root or last:
        raise forked


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


# --- Signed notes -----------------------------------------------------------------------------


def make_key(name: str, public: bytes) -> VerifyKey:
    """Return the key of this name; its id follows from both."""
    return VerifyKey(name, hashlib.sha256(name.encode() + b"\n" + KEY_TYPE_ED25519 + public).digest()[:4], public)


def parse_key(text: str) -> VerifyKey:
    """Read ``<name>+<key id>+<base64>``."""
    parts = text.strip().split("+", 2)
    try:
        data = base64.b64decode(parts[2], validate=True)
        key = make_key(parts[0], data[1:])
        right = data[:1] == KEY_TYPE_ED25519 and len(data) == 33 and key.key_id.hex() == parts[1] and parts[0]
    except (IndexError, ValueError):
        right = False
    if not right:
        msg = f"{text.strip()[:80]!r} is no public key; it looks like name+0123abcd+base64"
        raise Problem(msg)
    return key


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return the text of a signed note and its signatures: key name, key id, signature."""
    text, blank, rest = note.rpartition("\n\n")
    if not blank or not rest.endswith("\n") or len(note) > NOTE_BYTES_MAX:
        raise Problem("this is no signed note")
    signatures = []
    for line in rest[:-1].split("\n"):
        name, _, data = line[len(_DASH) :].partition(" ")
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not line.startswith(_DASH) or not name or len(raw) < 5:
            raise Problem("a signature line of the note is damaged")
        signatures.append((name, raw[:4], raw[4:]))
    return text + "\n", signatures


def signers_of(note: str, keys: Iterable[VerifyKey]) -> tuple[str, list[VerifyKey]]:
    """Return the text of a note and which of ``keys`` signed it; a bad signature of a known key is a ``Problem``."""
    text, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signers = []
    for name, key_id, signature in signatures:
        key = known.get((name, key_id))
        if key is None:
            continue
        if not ed25519_verify(key.public, signature, text.encode("utf-8")):
            msg = f"the signature of {name}+{key_id.hex()} is wrong: the note was changed, or another key made it"
            raise Problem(msg)
        signers.append(key)
    return text, signers


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint: origin, size, root."""
    lines = text.split("\n")
    try:
        origin, size, root = lines[0], lines[1], base64.b64decode(lines[2], validate=True)
        right = bool(origin) and size == str(int(size)) and int(size) >= 0 and len(root) == 32
    except (IndexError, ValueError):
        right = False
    if not right:
        raise Problem("this is no checkpoint: it has origin, size and root on three lines")
    return Checkpoint(origin, int(size), root)


class Ring(NamedTuple):
    """Keys that may sign, each with the sizes of the tree in which it was in force."""

    keys: tuple[tuple[VerifyKey, int, int | None], ...]

    def all(self) -> list[VerifyKey]:
        """Return every key there ever was."""
        return [key for key, _, _ in self.keys]


def open_checkpoint(note: str, ring: Ring) -> tuple[Checkpoint, VerifyKey]:
    """Return a checkpoint and who signed it; raise ``Problem`` unless a key in force has."""
    text, signers = signers_of(note, ring.all())
    checkpoint = parse_checkpoint(text)
    for key, since, until in ring.keys:
        if (
            key in signers
            and checkpoint.origin == key.name
            and since <= checkpoint.size
            and (until is None or checkpoint.size <= until)
        ):
            return checkpoint, key
    if signers:
        raise Problem(f"the checkpoint of {checkpoint.size} leaves is signed by a key that was not in force then")
    names = ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _ in split_note(note)[1])
    raise Problem(f"the checkpoint of {checkpoint.size} leaves is signed by {names}, which is no known key")


def follow_rotations(keys: Iterable[VerifyKey], rotations: Iterable[str]) -> Ring:
    """Return the keys that follow from trusted ones: each rotation is signed by the old key and by the new."""
    ring: list[tuple[VerifyKey, int, int | None]] = [(key, 0, None) for key in keys]
    for note in rotations:
        text, _ = split_note(note)
        lines = text.split("\n")
        if len(lines) < 5 or lines[0] != ROTATION or not lines[4].isdigit():
            raise Problem("a key rotation is damaged")
        old, new, size = parse_key(lines[2]), parse_key(lines[3]), int(lines[4])
        if not {old, new} <= set(signers_of(note, [old, new])[1]):
            msg = f"the rotation from {old.key_id.hex()} to {new.key_id.hex()} is not signed by both keys"
            raise Problem(msg)
        held = [key for key, _, _ in ring]
        if old in held and new not in held:
            ring = [(key, since, size if key == old else until) for key, since, until in ring]
            ring.append((new, size, None))
        elif new in held and old not in held:  # trust starts at the newer key and reaches back
            ring = [(key, size if key == new else since, until) for key, since, until in ring]
            ring.append((old, 0, size))
    return Ring(tuple(ring))


# --- Ed25519 ----------------------------------------------------------------------------------


def ed25519_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature is right, with ``cryptography`` if it is there."""
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 -- only if it is there
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    except ImportError:
        return plain_ed25519_verify(public, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


_P, _L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def plain_ed25519_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature is right (RFC 8032, 5.1.7), with the standard library alone."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, commitment = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= _L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    return _same(_times(scalar, _BASE), _plus(commitment, _times(challenge, key)))


def _point(data: bytes) -> _Point | None:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    x = _x_of(y, sign)
    return None if x is None else (x, y, 1, x * y % _P)


def _x_of(y: int, sign: int) -> int | None:
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    if square == 0:
        return None if sign else 0
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P:
        return None
    return _P - x if x & 1 != sign else x


def _plus(a: _Point, b: _Point) -> _Point:
    less, more = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    c, d = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = more - less, d - c, d + c, more + less
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _plus(total, point)
        point, scalar = _plus(point, point), scalar >> 1
    return total


def _same(a: _Point, b: _Point) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % _P == 0 and (a[1] * b[2] - b[1] * a[2]) % _P == 0


_BASE_Y = 4 * pow(5, _P - 2, _P) % _P
_BASE_X = _x_of(_BASE_Y, 0) or 0
_BASE: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


# --- The command ------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the command line names, say what was found, return the exit code."""
    parser = argparse.ArgumentParser(description="Check an evidence pack of Topstitch without Topstitch.")
    parser.add_argument("bundle", nargs="?", default=".", help="the pack's folder, or its bundle.json (default: here)")
    parser.add_argument("--key", help="the installation's public key, or a file that holds it; from somebody you trust")
    parser.add_argument("--last", action="store_true", help="refuse a pack that does not say which record was the last")
    given = parser.parse_args(arguments)
    path = Path(given.bundle)
    path = path / "bundle.json" if path.is_dir() else path
    try:
        bundle = json.loads(path.read_text(encoding="utf-8"))
        trusted = parse_key(_key_text(given.key)) if given.key else None
    except (OSError, ValueError, Problem) as error:
        sys.stderr.write(f"cannot start: {error}; name the folder of an evidence pack\n")
        return EXIT_USAGE
    try:
        report = check(bundle, trusted)
        report = report._replace(files=check_files(path.parent, bundle))
        if given.last and not report.last:
            raise Problem("nothing says which record was the last; ask for a new pack")
    except Problem as problem:
        sys.stdout.write(f"DOES NOT HOLD: {problem}\n")
        return EXIT_TAMPERED
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        sys.stdout.write(f"DOES NOT HOLD: the bundle is damaged ({type(error).__name__}: {error})\n")
        return EXIT_TAMPERED
    sys.stdout.write("\n".join(["HOLDS", *report.lines()]) + "\n")
    return 0


def _key_text(given: str) -> str:
    path = Path(given)
    return path.read_text(encoding="utf-8") if "+" not in given and path.exists() else given


if __name__ == "__main__":
    sys.exit(main())
