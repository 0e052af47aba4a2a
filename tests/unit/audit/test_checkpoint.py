"""Checkpoints are C2SP signed notes: other programs' notes verify here, ours have their form, keys follow rotations."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from topstitch.audit.check_bundle import (
    Problem,
    ed25519_verify,
    follow_rotations,
    open_checkpoint,
    parse_checkpoint,
    parse_key,
    plain_ed25519_verify,
    signers_of,
)
from topstitch.audit.checkpoint import (
    SigningKey,
    checkpoint_text,
    new_signing_key,
    read_checkpoint,
    read_or_make_key,
    ring_of,
    rotation_note,
    signed_note,
    write_key,
)
from topstitch.foundation.errors import OperatorError, TamperError

# The example of golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# RFC 8032, 7.1: test 2 and test 3.
VECTORS = [
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
KEY = SigningKey("acme.example/trail", bytes(range(32)))


def test_a_note_of_another_program_verifies() -> None:
    text, signers = signers_of(GO_NOTE, [parse_key(GO_KEY)])
    assert text.startswith("If you think")
    assert [str(key) for key in signers] == [GO_KEY]


@pytest.mark.parametrize("verify", [ed25519_verify, plain_ed25519_verify])
@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_both_verifiers_accept_the_vectors_of_the_rfc_and_nothing_near(
    verify: Callable[[bytes, bytes, bytes], bool], public: str, message: str, signature: str
) -> None:
    key, said, right = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert verify(key, right, said)
    assert not verify(key, right, said + b"\0")
    assert not verify(key, right[:32] + bytes(32), said)
    assert not verify(key, bytes([right[0] ^ 1]) + right[1:], said)
    assert not verify(bytes([key[0] ^ 1]) + key[1:], right, said)
    assert not verify(key, right[:63], said)


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=100))
def test_the_plain_verifier_agrees_with_the_library(seed: bytes, message: bytes) -> None:
    key = SigningKey("a", seed)
    signature = key.sign(message)
    assert plain_ed25519_verify(key.key.public, signature, message)
    assert not plain_ed25519_verify(key.key.public, signature, message + b"x")


def test_a_scalar_that_is_too_large_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = KEY.sign(b"m")
    more = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert not plain_ed25519_verify(KEY.key.public, signature[:32] + more, b"m")


def test_a_checkpoint_has_the_lines_of_the_specification() -> None:
    note = signed_note(checkpoint_text(KEY.key.name, 20852163, bytes(range(32))), [KEY])
    origin, size, root, blank, signature, end = note.split("\n")
    assert (origin, size, blank, end) == ("acme.example/trail", "20852163", "", "")
    assert base64.b64decode(root) == bytes(range(32))
    dash, name, data = signature.split(" ")
    assert (dash, name) == ("\u2014", "acme.example/trail")
    assert base64.b64decode(data)[:4] == KEY.key.key_id
    checkpoint, key = read_checkpoint(note, ring_of([KEY.key], []))
    assert (checkpoint.size, key) == (20852163, KEY.key)


def test_signatures_of_strangers_are_passed_over() -> None:
    stranger = SigningKey("witness.example", bytes(32))
    note = signed_note(checkpoint_text(KEY.key.name, 1, bytes(32)), [stranger, KEY])
    assert open_checkpoint(note, follow_rotations([KEY.key], []))[1] == KEY.key


@pytest.mark.parametrize("size", ["", "-1", "01", "1.0", "x", "1 "])
def test_a_size_that_is_no_plain_number_is_refused(size: str) -> None:
    with pytest.raises(Problem, match="no checkpoint"):
        parse_checkpoint(f"o\n{size}\n{base64.b64encode(bytes(32)).decode()}\n")


@pytest.mark.parametrize(
    "text", ["", "a+b", "a+00000000+AAAA", GO_KEY.replace("c74f", "c74e"), "+c74f20a3+" + GO_KEY[22:]]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="no public key"):
        parse_key(text)


def test_trust_follows_a_rotation_both_ways_and_sizes_bound_it() -> None:
    new = SigningKey(KEY.key.name, bytes(32))
    rotation = rotation_note(KEY, new, 100)
    for trusted in (KEY.key, new.key):
        ring = ring_of([trusted], [rotation])
        for signer, size in ((KEY, 99), (KEY, 100), (new, 100), (new, 101)):
            note = signed_note(checkpoint_text(KEY.key.name, size, bytes(32)), [signer])
            assert read_checkpoint(note, ring)[1] == signer.key
        for signer, size in ((KEY, 101), (new, 99)):
            note = signed_note(checkpoint_text(KEY.key.name, size, bytes(32)), [signer])
            with pytest.raises(TamperError, match="not in force"):
                read_checkpoint(note, ring)


def test_a_rotation_signed_by_one_of_the_keys_only_is_refused() -> None:
    new = SigningKey(KEY.key.name, bytes(32))
    text, _, _ = rotation_note(KEY, new, 100).partition("\n\n")
    for lone in (KEY, new):
        with pytest.raises(TamperError, match="not signed by both"):
            ring_of([KEY.key], [signed_note(text + "\n", [lone])])


def test_a_rotation_between_strangers_gives_no_trust() -> None:
    one, other = SigningKey(KEY.key.name, bytes(32)), SigningKey(KEY.key.name, b"\1" * 32)
    assert ring_of([KEY.key], [rotation_note(one, other, 1)]).all() == [KEY.key]


def test_the_key_file_is_made_once_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / "checkpoint.key"
    made = read_or_make_key(path, signed_before=False)
    assert read_or_make_key(path, signed_before=True).key == made.key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.private_text() not in repr(made)


def test_a_lost_key_is_not_replaced_silently(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="restore it from your backup"):
        read_or_make_key(tmp_path / "checkpoint.key", signed_before=True)


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY+a+b", "x", "PRIVATE+KEY+a+00000000+AAAA", KEY.private_text()[:-4]])
def test_a_damaged_key_file_is_said_to_be(tmp_path: Path, text: str) -> None:
    path = tmp_path / "checkpoint.key"
    path.write_text(text, encoding="ascii")
    with pytest.raises(OperatorError, match="damaged"):
        read_or_make_key(path, signed_before=True)


def test_a_rotated_key_takes_the_place_of_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.key"
    old = read_or_make_key(path, signed_before=False)
    new = new_signing_key(old.key.name)
    write_key(path, new, replace=True)
    assert read_or_make_key(path, signed_before=True).key == new.key
    with pytest.raises(OperatorError, match="remove an older file"):
        write_key(path, new)
