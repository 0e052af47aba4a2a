"""Sealing: canonical bytes, a chain, commitments that open, and nothing that opens where it does not belong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from topstitch.foundation.canonical import GENESIS, canonical_bytes, chain_hash, parse
from topstitch.foundation.errors import TamperError
from topstitch.model.record import Actor, ActorKind, Draft, Path, Stage
from topstitch.store.keys import InstallationKey
from topstitch.store.sealing import StoredRow, blob_of, milliseconds, moment, open_rows, seal
from topstitch.store.text import bytes_text, text_bytes

AT = datetime(2026, 1, 5, 9, 0, 0, 123000, tzinfo=UTC)
KEY = InstallationKey(b"k" * 32).new_subject_key("ins_1", "W-1")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('abc/ü"\\', max_size=4), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), JSON, max_size=4)


def drafted(body: dict[str, Any], *personal: Path, step: str | None = "identity") -> Draft:
    """Return a draft."""
    actor = Actor(ActorKind.HUMAN, 'd"ana\\@acme.example')
    return Draft(kind="x", at=AT, actor=actor, stage=Stage.EXECUTION, step=step, body=body, personal=personal)


@given(BODIES, st.none() | st.text('ab"', max_size=5))
def test_sealed_bytes_are_canonical_and_chained(body: dict[str, Any], step: str | None) -> None:
    row = seal(drafted(body, step=step), "ins_1", 1, GENESIS, KEY)
    value = parse(row.text)
    assert canonical_bytes(value).decode() == row.text
    assert set(value) == {"actor", "at", "body", "instance", "kind", "seq", "stage", "step"}
    assert row.hash_hex == chain_hash(GENESIS, row.text.encode()).hex()


@given(BODIES)
def test_what_was_sealed_opens_to_what_it_was(body: dict[str, Any]) -> None:
    personal = [(name,) for name in body]
    row = seal(drafted(body, *personal), "ins_1", 1, GENESIS, KEY)
    (record,) = open_rows("ins_1", [StoredRow(1, row.hash_hex, row.text, row.ciphertext)], KEY, prev=GENESIS)
    assert record == row.record
    assert record.body == body


def test_inner_paths_lists_and_paths_that_lead_nowhere() -> None:
    body = {"a": [{"name": "Priya"}, 1], "b": {"c": "x"}, "none": None}
    paths: tuple[Path, ...] = (("a", 0, "name"), ("a", 9), ("b",), ("b", "c"), ("none",), ("missing", "x"))
    row = seal(drafted(body, *paths), "ins_1", 1, GENESIS, KEY)
    sealed = parse(row.text)["body"]
    assert set(sealed["a"][0]["name"]) == set(sealed["b"]) == {"c"}
    assert len(sealed["b"]["c"]) == 44
    assert sealed["none"] is None
    (record,) = open_rows("ins_1", [StoredRow(1, row.hash_hex, row.text, row.ciphertext)], KEY, prev=GENESIS)
    assert record.body == body


def test_a_ciphertext_opens_only_where_it_belongs() -> None:
    one = seal(drafted({"a": "Priya"}, ("a",)), "ins_1", 1, GENESIS, KEY)
    two = seal(drafted({"a": "Kim"}, ("a",)), "ins_1", 2, bytes.fromhex(one.hash_hex), KEY)
    rows = [
        StoredRow(1, one.hash_hex, one.text, one.ciphertext),
        StoredRow(2, two.hash_hex, two.text, one.ciphertext),
    ]
    with pytest.raises(TamperError, match="ins_1:2"):
        open_rows("ins_1", rows, KEY, prev=GENESIS)


@pytest.mark.parametrize("spoil", ["text", "order", "gap"])
def test_a_chain_that_was_touched_is_named(spoil: str) -> None:
    rows, prev = [], GENESIS
    for seq in (1, 2, 3):
        row = seal(drafted({"n": seq}), "ins_1", seq, prev, None)
        prev = bytes.fromhex(row.hash_hex)
        rows.append(StoredRow(seq, row.hash_hex, row.text, None))
    if spoil == "text":
        rows[1] = StoredRow(2, rows[1].hash_hex, rows[1].text.replace('"n":2', '"n":9'), None)
    elif spoil == "order":
        rows[1], rows[2] = rows[2], rows[1]
    else:
        del rows[1]
    with pytest.raises(TamperError) as broken:
        open_rows("ins_1", rows, None, prev=GENESIS)
    assert broken.value.detail["expected_seq"] == 2


@given(st.integers(0, 2**42), st.integers(0, 999))
def test_milliseconds_go_there_and_back(ms: int, microseconds: int) -> None:
    at = moment(ms) + timedelta(microseconds=microseconds)
    assert milliseconds(at) == ms
    assert moment(milliseconds(at)) == at.replace(microsecond=at.microsecond // 1000 * 1000)


@given(st.binary(max_size=30) | st.just(b"base64:x"))
def test_bytes_kept_as_text_come_back(data: bytes) -> None:
    assert text_bytes(bytes_text(data)) == data
    assert "\x00" not in bytes_text(data)


def test_only_long_records_are_blobs() -> None:
    assert blob_of("x" * 65_536) is None
    assert str(blob_of("x" * 65_537)).startswith("sha256:")
