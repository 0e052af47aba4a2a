"""Webhooks going out: signed by Standard Webhooks, told until taken, told once, never to an address inside unasked."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidSignature

from integration.api.programs import Programs
from support.webhooks import verify_v1a
from topstitch.audit.checkpoint import new_signing_key
from topstitch.audit.sequencer import Sequencer
from topstitch.bootstrap.webhooks import DELAYS_SECONDS, Webhooks
from topstitch.connectors.outgoing import Answer, Network, Outgoing, read_networks, require_sendable, why_refused
from topstitch.foundation.errors import RequestError
from topstitch.store import ledger, webhooks
from topstitch.store.vault import Vault
from topstitch.trigger.signatures import verify

SIGNER = new_signing_key("test")
HOOK = {"url": "https://hooks.example.com/in", "types": ["topstitch.instance.*", "topstitch.approval.asked"]}


class Receiver:
    """Takes messages as a program elsewhere would, or refuses them."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.got = list(statuses), list[tuple[str, dict[str, str], bytes]]()

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        self.got.append((url, headers, body))
        await asyncio.sleep(0)
        status = self.statuses.pop(0) if self.statuses else 200
        return Answer(status=status, problem=None if status < 300 else "no")


class Owner:
    """Hears that an endpoint was disabled."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def __call__(self, endpoint: Any, because: str) -> None:
        self.heard.append(f"{endpoint.owner}: {because}")


async def place(programs: Programs) -> None:
    """Place all records in the ledger, as the sequencer does."""
    await Sequencer(programs.store, SIGNER, programs.clock).place()


async def hooked(programs: Programs, **more: Any) -> tuple[str, str]:
    """Add an endpoint; return its id and secret. Only what happens from here on is told."""
    await place(programs)
    made = (await programs.post("/webhooks", {**HOOK, **more})).json
    return made["id"], made["secret"]


async def start(programs: Programs, number: int = 1) -> str:
    from support.onboarding import HIRE

    data = {**HIRE, "employee_id": f"W-9{number}"}
    answer = await programs.post("/instances", {"workflow": "employee-onboarding", "data": data})
    assert answer.status == 202, answer.body
    await place(programs)
    return str(answer.json["instances"][0])


def rounds(programs: Programs, receiver: Receiver, owner: Owner | None = None) -> Webhooks:
    return Webhooks(programs.store, programs.clock, receiver, owner)


async def test_what_happens_is_told_signed_and_without_a_personal_value(programs: Programs):
    name, secret = await hooked(programs)
    instance = await start(programs)
    receiver = Receiver()
    assert await rounds(programs, receiver).round() == 1
    [(url, headers, body)] = receiver.got
    assert url == HOOK["url"]
    assert verify("standard-webhooks", headers, body, programs.clock.now(), secret) == "standard-webhooks"
    event = orjson.loads(body)
    assert (event["specversion"], event["type"], event["id"]) == (
        "1.0", "topstitch.instance.started", headers["webhook-id"],
    )  # fmt: skip
    assert event["data"]["instance"] == event["subject"] == instance
    row = (await programs.get(f"/instances/{instance}")).json
    assert row["title"].encode() not in body
    told = (await programs.get(f"/webhooks/{name}/deliveries")).json["items"]
    assert [(one["status"], one["tries"], one["answered"]) for one in told] == [("sent", 1, 200)]


async def test_nobody_is_told_of_the_past_and_nothing_is_told_twice(programs: Programs):
    await hooked(programs)
    receiver = Receiver()
    assert await rounds(programs, receiver).round() == 0
    await start(programs)
    sender = rounds(programs, receiver)
    await sender.round()
    await sender.round()
    assert len(receiver.got) == 1


async def test_two_engines_share_the_sending_and_tell_each_event_once(programs: Programs):
    await hooked(programs)
    for number in range(6):
        await start(programs, number)
    receiver = Receiver()
    one, other = rounds(programs, receiver), rounds(programs, receiver)
    await asyncio.gather(one.round(), other.round(), one.round(), other.round())
    names = [headers["webhook-id"] for _, headers, _ in receiver.got]
    assert len(names) == len(set(names)) == 6


async def test_a_failed_delivery_is_told_again_later_and_later_for_three_days_then_its_owner_hears(programs: Programs):
    name, _ = await hooked(programs)
    await start(programs)
    receiver, owner = Receiver(*[500] * 20), Owner()
    sender = rounds(programs, receiver, owner)
    begin = programs.clock.now()
    for wait in DELAYS_SECONDS:
        assert await sender.round() == 1
        assert await sender.round() == 0, "not before its time"
        programs.clock.advance(wait * 1.1 + 1)
    assert timedelta(days=3) < programs.clock.now() - begin < timedelta(days=4)
    assert await sender.round() == 1
    shown = (await programs.get(f"/webhooks/{name}")).json
    assert (shown["status"], "three days" in shown["because"]) == ("disabled", True)
    assert shown["failing_since"] == "2026-11-23T15:30:00.000Z"
    assert owner.heard == [f"dana: {shown['because']}"]
    given_up = (await programs.get(f"/webhooks/{name}/deliveries?status=given_up")).json["items"]
    assert [one["problem"] for one in given_up] == ["no"]
    await start(programs, 2)
    assert await sender.round() == 0, "a disabled endpoint is told nothing"


async def test_a_disabled_endpoint_is_enabled_again_by_who_saw_it(programs: Programs):
    name, _ = await hooked(programs)
    await start(programs)
    await rounds(programs, Receiver(410), Owner()).round()
    seen = await programs.get(f"/webhooks/{name}")
    assert "410" in seen.json["because"]
    blind = await programs.call("PATCH", f"/webhooks/{name}", {"status": "enabled"})
    assert blind.status == 428
    match = {"if-match": seen.headers["etag"]}
    again = await programs.call("PATCH", f"/webhooks/{name}", {"status": "enabled"}, **match)
    assert (again.json["status"], again.json["because"]) == ("enabled", None)


async def test_a_delivery_is_told_again_on_request_under_the_same_id(programs: Programs):
    name, _ = await hooked(programs)
    await start(programs)
    receiver = Receiver()
    sender = rounds(programs, receiver)
    await sender.round()
    delivery = (await programs.get(f"/webhooks/{name}/deliveries")).json["items"][0]["id"]
    again = await programs.post(f"/webhooks/{name}/deliveries/{delivery}/replay")
    assert (again.status, again.json["replay_of"]) == (202, delivery)
    await sender.round()
    first, second = receiver.got
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert first[2] == second[2]
    assert len((await programs.get(f"/webhooks/{name}/deliveries?limit=1")).json["items"]) == 1


async def test_while_a_secret_is_rotated_both_sign_and_then_only_the_new_one(programs: Programs):
    name, old = await hooked(programs)
    new = (await programs.post(f"/webhooks/{name}/secret", {"overlap_hours": 2})).json["secret"]
    assert new != old
    receiver = Receiver()
    sender = rounds(programs, receiver)
    await start(programs, 1)
    await sender.round()
    programs.clock.advance(2 * 3600 + 1)
    await start(programs, 2)
    await sender.round()
    both, after = receiver.got
    assert both[1]["webhook-signature"].count("v1,") == 2
    assert after[1]["webhook-signature"].count("v1,") == 1
    verify("standard-webhooks", after[1], after[2], programs.clock.now(), new)
    stored = await Vault(programs.store).names()
    assert len([one for one in stored if one.name.startswith(f"webhook/{name}/")]) == 2


async def test_a_key_signs_what_its_public_half_checks_and_only_that(programs: Programs):
    await place(programs)
    made = (await programs.post("/webhooks", {**HOOK, "signatures": ["v1a"]})).json
    name, public = made["id"], made["public_key"]
    assert (made["secret"], public[:5]) == (None, "whpk_")
    assert (await programs.get(f"/webhooks/{name}")).json["secrets"] == [
        {"signature": "v1a", "public_key": public, "ends_at": None}
    ]
    await start(programs)
    receiver = Receiver()
    await rounds(programs, receiver).round()
    [(_, headers, body)] = receiver.got
    verify_v1a(headers, body, public)
    for forged in (body[:-1], b" " + body):
        with pytest.raises(InvalidSignature):
            verify_v1a(headers, forged, public)
    with pytest.raises(InvalidSignature):
        verify_v1a({**headers, "webhook-id": "evt_other"}, body, public)
    assert b"whsk_" not in (await programs.get("/webhooks")).body
    rows = await programs.store.work(lambda backend: backend.execute("SELECT * FROM stored_credentials"))
    assert "whsk_" not in str(rows)


async def test_a_receiver_goes_over_from_a_secret_to_a_key_in_peace(programs: Programs):
    name, secret = await hooked(programs)
    turned = (await programs.post(f"/webhooks/{name}/secret", {"signatures": ["v1a"]})).json
    assert (turned["secret"], turned["old_ends_at"]) == (None, "2026-11-24T15:30:00.000Z")
    receiver = Receiver()
    sender = rounds(programs, receiver)
    await start(programs, 1)
    await sender.round()
    programs.clock.advance(24 * 3600 + 1)
    await start(programs, 2)
    await sender.round()
    (_, both, body), (_, after, later) = receiver.got
    verify("standard-webhooks", both, body, programs.clock.now() - timedelta(days=1), secret)
    verify_v1a(both, body, turned["public_key"])
    verify_v1a(after, later, turned["public_key"])
    assert "v1," not in after["webhook-signature"]


async def test_an_endpoint_with_both_rotates_both_and_keeps_two_of_each(programs: Programs):
    name, _ = await hooked(programs, signatures=["v1", "v1a"])
    for _ in range(3):
        turned = (await programs.post(f"/webhooks/{name}/secret", {})).json
    assert turned["secret"].startswith("whsec_")
    assert turned["public_key"].startswith("whpk_")
    shown = (await programs.get(f"/webhooks/{name}")).json["secrets"]
    assert sorted((one["signature"], bool(one["ends_at"])) for one in shown) == [
        ("v1", False), ("v1", True), ("v1a", False), ("v1a", True),
    ]  # fmt: skip
    stored = await Vault(programs.store).names()
    assert len([one for one in stored if one.name.startswith(f"webhook/{name}/")]) == 4
    assert (await programs.post(f"/webhooks/{name}/secret", {"signatures": ["v2"]})).status == 422


async def test_a_secret_kept_before_there_were_keys_is_read(programs: Programs):
    name, secret = await hooked(programs)
    older = "UPDATE webhook_endpoints SET secrets = replace(secrets, ',\"public_key\":null', '')"
    await programs.store.work(lambda backend: backend.execute(older))
    rows = await programs.store.work(lambda backend: backend.execute("SELECT secrets FROM webhook_endpoints"))
    assert "public_key" not in str(rows)
    await start(programs)
    receiver = Receiver()
    await rounds(programs, receiver).round()
    [(_, headers, body)] = receiver.got
    verify("standard-webhooks", headers, body, programs.clock.now(), secret)
    assert (await programs.get(f"/webhooks/{name}")).json["secrets"][0]["signature"] == "v1"


async def test_a_secret_is_shown_once_and_kept_encrypted(programs: Programs):
    name, secret = await hooked(programs)
    for path in (f"/webhooks/{name}", "/webhooks", f"/webhooks/{name}/deliveries"):
        assert secret.encode() not in (await programs.get(path)).body
    rows = await programs.store.work(lambda backend: backend.execute("SELECT * FROM stored_credentials"))
    assert secret not in str(rows)


async def test_who_changed_what_is_told_stands_in_the_installations_journal(programs: Programs):
    from topstitch.store import instances

    name, _ = await hooked(programs)
    await programs.call("DELETE", f"/webhooks/{name}")
    records = await instances.stored_records(programs.store, instance=ledger.INSTALLATION)
    bodies = [orjson.loads(one.body) for one in records]
    assert [(one["actor"], one["body"]["command"]) for one in bodies if one["body"].get("webhook") == name] == [
        ("human:dana", "webhook.add"),
        ("human:dana", "webhook.remove"),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/", "https://169.254.169.254/",
        "https://[::ffff:10.0.0.1]/", "https://user:secret@hooks.example.com/", "ftp://hooks.example.com/", "https:///x",
        "https://192.168.1.1:8443/x", "https://0.0.0.0/", "https://hooks.example.com/#x",
    ],
)  # fmt: skip
async def test_an_address_that_points_inside_is_refused_when_it_is_added(programs: Programs, url: str):
    answer = await programs.post("/webhooks", {"url": url})
    assert (answer.status, answer.json["code"]) == (422, answer.json["code"])
    assert answer.json["code"] in ("webhook-url", "webhook-private")


async def test_a_type_that_there_is_not_is_refused(programs: Programs):
    answer = await programs.post("/webhooks", {**HOOK, "types": ["topstitch.instance.exploded"]})
    assert (answer.status, answer.json["code"]) == (422, "event-unknown")


def test_a_name_that_resolves_inside_is_judged_by_every_address():
    allowed: tuple[Network, ...] = read_networks(["10.0.0.0/8"])
    assert why_refused("10.2.3.4", allowed) is None
    assert why_refused("93.184.216.34", ()) is None
    for address in ("127.0.0.1", "192.168.0.9", "::1", "fe80::1", "::ffff:127.0.0.1", "224.0.0.1", "100.64.0.1"):
        assert why_refused(address, allowed) is not None
    require_sendable("http://10.2.3.4/x", allowed)
    with pytest.raises(RequestError):
        require_sendable("http://hooks.example.com/x", allowed)


async def test_a_real_message_goes_to_an_allowed_network_alone_and_no_redirect_is_followed():
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outgoing, guarded = Outgoing(read_networks(["127.0.0.0/8"])), Outgoing()
    async with server:
        assert (await outgoing.send(f"http://127.0.0.1:{port}/x", {"webhook-id": "e"}, b"{}")).status == 302
        assert (await guarded.send(f"https://localhost:{port}/x", {}, b"{}")).problem
        assert "webhook_networks" in str((await guarded.send(f"http://127.0.0.1:{port}/x", {}, b"{}")).problem)
    await outgoing.close()
    await guarded.close()
    assert len(seen) == 1
    assert b"webhook-id: e" in seen[0]


async def test_a_first_endpoint_of_a_store_that_was_silent_begins_at_its_end(programs: Programs):
    await place(programs)
    assert await webhooks.feed(programs.store, lambda record: None, programs.clock.now()) == 0
    await hooked(programs)
    assert await webhooks.feed(programs.store, lambda record: None, programs.clock.now()) == 0
