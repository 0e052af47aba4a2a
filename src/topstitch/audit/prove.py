"""Decides what an outsider is handed to check one instance: a bundle, or a folder with reading aids.

The bundle holds the exact texts of the records, the proof that each is in the tree, the
signed checkpoint, a signed statement which record was the last, so that nobody can cut the
end away, the public keys with their rotations, and those personal values that were
asked for, each with its salt. The folder adds readable files made from the records and the
checker itself, ``check_bundle.py``, which recomputes everything without this installation.
Personal values that were not asked for stay commitments.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topstitch.audit import check_bundle, tree
from topstitch.audit.check_bundle import FORMAT, OLD_FORMAT, VerifyKey
from topstitch.audit.checkpoint import KEY_ROTATED, Signer, last_note
from topstitch.foundation.errors import ConflictError, NotFoundError, OperatorError
from topstitch.store.keys import InstallationKey
from topstitch.store.ledger_reader import LedgerReader, Personal

Discloses = Callable[[Personal], bool]
"""Says of a personal value whether it is handed over."""

READ_ME = """\
Evidence for {instance}

bundle.json       the records exactly as they were hashed, with proofs, checkpoint and keys
checkpoint.txt    the signed root of the tree of all records (C2SP signed note)
key.pub           the public key that came with this pack
trigger.json      what started it: event, source, time of receipt, result of the signature check
context.json      what was read before anything was written, with system, record, time and hash
attempts.json     each try of each write: request, answer, duration, effect
decisions.json    every decision with who made it: human, agent, policy or system
outcome.json      how it ended, what is left, what reconciliation found
check_bundle.py   checks all of this; needs Python 3.9 and nothing else

    python3 check_bundle.py . --key KEY --last

KEY is the public key of the installation, from somebody you trust; without it the key in this
pack is used, which proves that the pack is whole and not who made it. Values that stand as
"withheld" were not disclosed: the record holds a salted commitment to them.
"""


def prove(
    reader: LedgerReader,
    instance: str,
    keys: Sequence[VerifyKey],
    *,
    signer: Signer | None = None,
    opener: InstallationKey | None = None,
    discloses: Discloses | None = None,
) -> dict[str, Any]:
    """Return the bundle of an instance; ``opener`` and ``discloses`` choose the personal values in it.

    ``signer`` states which record is the last; without one the bundle is of the old form, which cannot show that.
    """
    records = reader.records(instance)
    if not records:
        raise NotFoundError("no-instance", f"there is no instance {instance}; `topstitch instances` lists them")
    signed = reader.newest_checkpoint()
    leaves = reader.leaves_of(instance)
    if signed is None or any(leaves.get(record.seq, signed.size) >= signed.size for record in records):
        raise ConflictError(
            "not-signed-yet",
            f"the newest records of {instance} are in no signed checkpoint yet; "
            "wait ten seconds, or run `topstitch audit checkpoint`",
        )
    proved = [
        {
            "seq": record.seq,
            "text": record.text,
            "hash": record.hash,
            "leaf": leaves[record.seq],
            "proof": [_base64(one) for one in tree.inclusion(leaves[record.seq], signed.size, reader.tile)],
        }
        for record in records
    ]
    disclosed = disclosures(reader, instance, opener, discloses) if opener and discloses else []
    head = records[-1]
    last = {"last": last_note(signer, instance, head.seq, head.hash, signed.size)} if signer else {}
    return {
        "format": FORMAT if last else OLD_FORMAT,
        "instance": instance,
        "records": proved,
        "checkpoint": signed.note,
        **last,
        "keys": [str(key) for key in keys],
        "rotations": [body["note"] for body in reader.installation_bodies(KEY_ROTATED)],
        "disclosed": disclosed,
    }


def disclosures(
    reader: LedgerReader, instance: str, opener: InstallationKey, discloses: Discloses
) -> list[dict[str, Any]]:
    """Return chosen personal values with their salts: anybody can check them against the records."""
    return [
        {"seq": one.seq, "path": list(one.path), "salt": one.salt, "value": one.value}
        for one in reader.personal_of(instance, opener)
        if discloses(one)
    ]


def discloses_fields(names: Sequence[str]) -> Discloses:
    """Return what chooses values by field: the last part of their path, or the whole path with dots; ``*`` is all."""

    def discloses(one: Personal) -> bool:
        whole = ".".join(str(part) for part in one.path)
        return "*" in names or whole in names or str(one.path[-1] if one.path else "") in names

    return discloses


def bundle_text(bundle: dict[str, Any]) -> str:
    """Return a bundle as it is written to a file."""
    return json.dumps(bundle, indent=1, ensure_ascii=False) + "\n"


def evidence_pack(bundle: dict[str, Any]) -> dict[str, str]:
    """Return the files of the evidence folder, by name."""
    return {
        "README.txt": READ_ME.format(instance=bundle["instance"]),
        "bundle.json": bundle_text(bundle),
        "checkpoint.txt": bundle["checkpoint"],
        "key.pub": "".join(f"{key}\n" for key in bundle["keys"]),
        **check_bundle.readable_files(bundle),
        "check_bundle.py": Path(check_bundle.__file__).read_text(encoding="utf-8"),
    }


def write_pack(folder: Path, files: dict[str, str]) -> None:
    """Write the files of an evidence pack into a new or empty folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise OperatorError("folder-not-empty", f"{folder} is not empty; name a new folder for the evidence")
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OperatorError(
            "evidence-unwritable", f"{folder} cannot be written to: {error.strerror}; name another folder"
        ) from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
