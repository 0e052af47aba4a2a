"""The commands on webhooks: told of a secret once, tested against a receiver that checks it, told again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import orjson
import pytest
from cryptography.exceptions import InvalidSignature

from support.commands import Ran, called
from support.webhooks import verify_v1a
from topstitch.connectors.outgoing import Answer
from topstitch.foundation.clock import SystemClock
from topstitch.store import Store, instances, webhooks
from topstitch.store.ledger import INSTALLATION
from topstitch.store.vault import Vault
from topstitch.trigger.signatures import verify

Run = Callable[..., Ran]


class Receiver(HTTPServer):
    """A program elsewhere that takes webhooks, or does not."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taken)
        self.answers, self.got = 204, list[tuple[dict[str, str], bytes]]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/in"


class _Taken(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((headers, self.rfile.read(int(headers["content-length"]))))
        self.send_response(self.server.answers)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    Store.open(str(tmp_path / "topstitch.db"), threads=False).close()

    def on_folder(*words: str) -> Ran:
        return called("webhooks", *words, "--data", str(tmp_path), TOPSTITCH_WEBHOOK_NETWORKS="127.0.0.0/8")

    return on_folder


def test_a_webhook_is_added_listed_without_its_secret_and_removed(run: Run, receiver: Receiver, tmp_path: Path) -> None:
    made = run("add", receiver.url, "--type", "topstitch.approval.*", "--as", "ada")
    assert (made.code, made.out.startswith("whsec_")) == (0, True)
    listed = run("list", "--json")
    (one,) = listed.json()["items"]
    assert (one["url"], one["types"], one["owner"], one["status"]) == (
        receiver.url, ["topstitch.approval.*"], "ada", "enabled",
    )  # fmt: skip
    assert made.out.strip() not in listed.out
    assert one["secrets"] == [{"signature": "v1", "public_key": None, "ends_at": None}]
    assert one["id"] in run().out
    assert run("remove", one["id"], "--as", "ada").code == 0
    assert run("list", "--json").json()["items"] == []
    assert run("remove", one["id"]).code == 5
    with Store.open(str(tmp_path / "topstitch.db"), threads=False) as store:
        noted = [r for r in asyncio.run(instances.records(store, INSTALLATION)) if "webhook" in r.body]
    assert [(str(r.actor), r.body["command"]) for r in noted] == [
        ("human:ada", "webhook.add"), ("human:ada", "webhook.remove"),
    ]  # fmt: skip


def test_a_key_signs_and_its_public_half_is_shown_to_whoever_looks(run: Run, receiver: Receiver) -> None:
    made = run("add", receiver.url, "--signature", "v1a", "--as", "ada")
    public = made.out.strip()
    assert (made.code, public.startswith("whpk_"), "shows it again" in made.err) == (0, True, True)
    (one,) = run("list", "--json").json()["items"]
    assert one["secrets"] == [{"signature": "v1a", "public_key": public, "ends_at": None}]
    assert public in run("list").out.replace("\n", "").replace(" ", "")
    assert run("test", one["id"]).code == 0
    ((headers, body),) = receiver.got
    verify_v1a(headers, body, public)
    with pytest.raises(InvalidSignature):
        verify_v1a(headers, body + b" ", public)
    assert "v1," not in headers["webhook-signature"]


def test_a_secret_is_rotated_and_the_old_one_signs_for_a_day(run: Run, receiver: Receiver, tmp_path: Path) -> None:
    old = run("add", receiver.url, "--as", "ada").out.strip()
    name = run("list", "--json").json()["items"][0]["id"]
    turned = run("rotate", name, "--as", "ada")
    new = turned.out.strip()
    assert (turned.code, new.startswith("whsec_"), new != old) == (0, True, True)
    assert "the old one signs every message too" in turned.err
    assert run("test", name).code == 0
    headers, body = receiver.got[-1]
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        verify("standard-webhooks", headers, body, SystemClock().now(), secret)
    public = run("rotate", name, "--signature", "v1a", "--overlap", "0", "--as", "ada").out.strip()
    assert run("test", name).code == 0
    headers, body = receiver.got[-1]
    assert headers["webhook-signature"].startswith("v1a,")
    assert " " not in headers["webhook-signature"], "what was leaked signs no more"
    verify_v1a(headers, body, public)
    assert run("rotate", "whe_none").code == 5
    with Store.open(str(tmp_path / "topstitch.db"), threads=False) as store:
        stored = asyncio.run(Vault(store).names())
    assert len(stored) == 1, "old secrets are forgotten"


def test_an_address_inside_and_an_unknown_type_are_refused(run: Run, receiver: Receiver, tmp_path: Path) -> None:
    refused = called("webhooks", "add", receiver.url, "--data", str(tmp_path))
    assert (refused.code, "webhook-private" in refused.err) == (2, True)
    unknown = run("add", receiver.url, "--type", "topstitch.nothing")
    assert (unknown.code, "event-unknown" in unknown.err) == (2, True)
    assert run("list", "--json").json()["items"] == []


def test_a_test_is_signed_with_the_secret_and_says_whether_it_was_taken(run: Run, receiver: Receiver) -> None:
    made = run("add", receiver.url, "--json").json()
    assert run("test", made["id"]).code == 0
    [(headers, body)] = receiver.got
    proved = verify("standard-webhooks", headers, body, SystemClock().now(), made["secret"])
    assert proved == "standard-webhooks"
    assert orjson.loads(body)["type"] == "topstitch.webhook.test"
    receiver.answers = 500
    refused = run("test", made["id"], "--json")
    assert (refused.code, refused.json()["taken"], refused.json()["answered"]) == (1, False, 500)
    assert run("deliveries", made["id"], "--json").json()["items"] == []
    assert run("test", "whe_none").code == 5


def test_a_delivery_is_listed_and_told_again(run: Run, receiver: Receiver, tmp_path: Path) -> None:
    name = run("add", receiver.url, "--json").json()["id"]
    asyncio.run(given_up(tmp_path, name))
    (one,) = run("deliveries", name, "--status", "given_up", "--json").json()["items"]
    assert (one["type"], one["tries"], one["problem"]) == ("topstitch.instance.started", 1, "no")
    again = run("replay", name, one["id"], "--json").json()
    assert (again["event"], again["replay_of"], again["status"]) == (one["event"], one["id"], "waiting")
    assert len(run("deliveries", name, "--json").json()["items"]) == 2
    assert one["id"] in run("deliveries", name).out
    assert run("replay", name, "dlv_none").code == 5
    assert run("deliveries", "whe_none").code == 5


async def given_up(folder: Path, name: str) -> None:
    """Leave one delivery that its receiver wanted no more."""
    from msgspec.structs import replace

    with Store.open(str(folder / "topstitch.db"), threads=False) as store:
        now = SystemClock().now()
        made = webhooks.Delivery(
            id="dlv_1", endpoint=name, event="evt_1", type="topstitch.instance.started", instance="ins_1", body="{}",
            made_at=now, status=webhooks.WAITING, tries=0, next_at=now, sent_at=None, answered=None, problem=None,
            replay_of=None,
        )  # fmt: skip
        await webhooks.replay(store, made, "dlv_2", now)
        tried = replace(made, id="dlv_2", status=webhooks.GIVEN_UP, tries=1, next_at=None)
        await webhooks.note(store, replace(tried, answered=Answer(status=410).status, problem="no"), now)
