"""The simulated mail system over real SMTP and IMAP, with the standard library's clients."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest

KEY = "ins_1:welcome_email"


def message(to: str = "tomas.herrera@corp.example") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "topstitch@corp.example", to, "Welcome, Priya - bitte lesen"
    made["Message-ID"], made["X-Topstitch-Key"] = f"<{KEY.replace(':', '.')}@corp.example>", KEY
    made.set_content("Dear Tomas,\nPriya starts on Monday.\n")
    made.add_alternative("<p>Dear <b>Tomas</b></p>", subtype="html")
    return made


async def send(world: Any, made: EmailMessage | None = None, **keywords: Any) -> Any:
    facts = world.sims.facts()["email"]
    login = {"username": facts["username"], "password": facts["password"], "start_tls": False}
    where = {"hostname": facts["smtp_host"], "port": facts["smtp_port"], "timeout": 5}
    return await aiosmtplib.send(made or message(), **{**where, **login, **keywords})


async def by_imap(world: Any, act: Callable[[imaplib.IMAP4], Any]) -> Any:
    """Log in with the standard library's client, in a thread, and act."""
    facts = world.sims.facts()["email"]

    def talk() -> Any:
        with imaplib.IMAP4(facts["imap_host"], facts["imap_port"], timeout=5) as client:
            client.login(facts["username"], facts["password"])
            client.select("INBOX", readonly=True)
            return act(client)

    return await asyncio.to_thread(talk)


async def test_a_message_is_taken_and_shown_with_text_and_html(world: Any, mail: Any) -> None:
    await send(world)
    listed = (await mail("GET", "/_sim/mailbox")).body
    assert [(one["uid"], one["subject"], one["key"]) for one in listed] == [(1, "Welcome, Priya - bitte lesen", KEY)]
    shown = (await mail("GET", "/_sim/mailbox/1")).body
    assert "Priya starts on Monday." in shown["text"]
    assert shown["html"].strip() == "<p>Dear <b>Tomas</b></p>"
    assert shown["headers"]["X-Topstitch-Key"] == KEY
    assert (await mail("GET", "/_sim/mailbox/1/html")).text.strip() == "<p>Dear <b>Tomas</b></p>"
    assert (await mail("GET", "/_sim/mailbox?subject=goodbye")).body == []
    assert (await mail("GET", "/_sim/mailbox/2")).status == 404


async def test_the_server_does_not_remove_duplicates(world: Any, mail: Any) -> None:
    for _ in range(2):
        await send(world)
    listed = (await mail("GET", "/_sim/mailbox")).body
    assert len({one["message_id"] for one in listed}) == 1
    assert len(listed) == 2


async def test_imap_finds_by_header_and_fetches(world: Any, mail: Any) -> None:
    await send(world)
    found = await by_imap(world, lambda client: client.uid("SEARCH", "HEADER", "X-Topstitch-Key", f'"{KEY}"'))
    assert found == ("OK", [b"1"])
    assert await by_imap(world, lambda client: client.uid("SEARCH", "HEADER", "Message-ID", "nothing")) == ("OK", [b""])
    status, parts = await by_imap(
        world, lambda client: client.uid("FETCH", "1", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
    )
    assert status == "OK"
    assert b"Priya starts on Monday." in parts[0][1]
    fields = "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID X-TOPSTITCH-KEY)] RFC822.SIZE)"
    _, parts = await by_imap(world, lambda client: client.fetch("1", fields))
    assert parts[0][1].startswith(b"Message-ID: <ins_1.welcome_email@corp.example>\r\nX-Topstitch-Key: ")


@pytest.mark.parametrize(
    ("criteria", "hits"),
    [
        (("ALL",), b"1 2"),
        (("SUBJECT", "bitte"), b"1 2"),
        (("TO", '"dana.whitfield"'), b"2"),
        (("NOT", "TO", '"dana.whitfield"'), b"1"),
        (("OR", "UID", "1", "TO", '"dana"'), b"1 2"),
        (("UNSEEN", "TEXT", '"Monday"'), b"1 2"),
        (("SINCE", "02-Mar-2026"), b"1 2"),
        (("BEFORE", "02-Mar-2026"), b""),
        (("UID", "2:*"), b"2"),
        (("(SUBJECT bitte UID 1)",), b"1"),
    ],
)
async def test_imap_searches(world: Any, mail: Any, criteria: tuple[str, ...], hits: bytes) -> None:
    await send(world)
    await send(world, message("dana.whitfield@corp.example"))
    assert await by_imap(world, lambda client: client.uid("SEARCH", *criteria)) == ("OK", [hits])


async def test_imap_keeps_flags_and_refuses_to_in_a_read_only_mailbox(world: Any, mail: Any) -> None:
    await send(world)

    def act(client: imaplib.IMAP4) -> Any:
        refused = client.uid("STORE", "1", "+FLAGS", "(\\Seen)")[0]
        client.select("INBOX")
        client.uid("STORE", "1", "+FLAGS", "(\\Seen)")
        return refused, client.uid("SEARCH", "SEEN")[1], client.status("INBOX", "(MESSAGES UNSEEN)")[0]

    assert await by_imap(world, act) == ("NO", [b"1"], "OK")


async def test_imap_refuses_a_wrong_password_and_a_command_it_cannot_read(world: Any, mail: Any) -> None:
    facts = world.sims.facts()["email"]

    def talk() -> tuple[str, str]:
        with imaplib.IMAP4(facts["imap_host"], facts["imap_port"], timeout=5) as client:
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                client.login(facts["username"], "guess")
            client.authenticate("PLAIN", lambda _: f"\0{facts['username']}\0{facts['password']}".encode())
            client.select("INBOX")
            with pytest.raises(imaplib.IMAP4.error, match="BAD"):
                client.uid("SEARCH", "SINCE", "yesterday")
            return client.noop()[0], client.list()[0]

    assert await asyncio.to_thread(talk) == ("OK", "OK")


async def test_a_wrong_password_is_535_and_no_login_is_530(world: Any, mail: Any) -> None:
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refused:
        await send(world, password="guess")
    assert refused.value.code == 535
    with pytest.raises(aiosmtplib.SMTPResponseException) as asked:
        await send(world, username=None, password=None)
    assert asked.value.code == 530


@pytest.mark.parametrize(("status", "verb"), [(421, "MAIL"), (450, "RCPT"), (550, "RCPT"), (554, "DATA")])
async def test_refusals_at_every_stage_store_nothing(world: Any, mail: Any, status: int, verb: str) -> None:
    await mail.fault("refuse", status=status, times=1, match={"method": verb})
    with pytest.raises((aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused)):
        await send(world)
    assert (await mail("GET", "/_sim/mailbox")).body == []
    await send(world)
    assert len((await mail("GET", "/_sim/mailbox")).body) == 1


async def test_an_unknown_recipient_is_550(world: Any, mail: Any) -> None:
    await mail("PATCH", "/_sim/settings", {"unknown_recipients": ["gone@corp.example"]})
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
        await send(world, message("gone@corp.example"))


async def test_drop_after_data_was_accepted_leaves_the_message(world: Any, mail: Any) -> None:
    await mail.fault("drop_after_commit", times=1)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(world)
    assert len((await mail("GET", "/_sim/mailbox")).body) == 1


async def test_timeout_after_data_was_accepted_leaves_the_message(world: Any, mail: Any) -> None:
    await mail.fault("timeout_after_commit", times=1)
    with pytest.raises(aiosmtplib.SMTPTimeoutError):
        await send(world, timeout=0.3)
    assert len((await mail("GET", "/_sim/mailbox")).body) == 1


async def test_accept_store_nothing_says_250_and_keeps_nothing(world: Any, mail: Any) -> None:
    await mail.fault("accept_store_nothing", times=1)
    await send(world)
    assert (await mail("GET", "/_sim/mailbox")).body == []
    entry = next(one for one in (await mail("GET", "/_sim/journal")).body if one["method"] == "DATA")
    assert (entry["status"], entry["committed"], entry["key"]) == (250, False, KEY)


async def test_down_closes_smtp_and_imap_at_once(world: Any, mail: Any) -> None:
    await mail.fault("down")
    with pytest.raises((aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPConnectError)):
        await send(world)
    with pytest.raises((imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError)):
        await by_imap(world, lambda client: client.noop())


async def test_imap_may_be_unavailable_while_smtp_works(world: Any, mail: Any) -> None:
    await mail.fault("503", match={"method": "IMAP", "path": "SEARCH"})
    await send(world)
    status, _ = await by_imap(world, lambda client: client.uid("SEARCH", "ALL"))
    assert status == "NO"


async def test_edge_10_delivery_may_take_a_while(world: Any, mail: Any) -> None:
    await mail("PATCH", "/_sim/settings", {"delivery_seconds": 30})
    await send(world)
    assert await by_imap(world, lambda client: client.uid("SEARCH", "ALL")) == ("OK", [b""])
    world.clock.advance(30)
    assert await by_imap(world, lambda client: client.uid("SEARCH", "ALL")) == ("OK", [b"1"])


async def test_the_standard_librarys_smtp_client_works_too(world: Any, mail: Any) -> None:
    facts = world.sims.facts()["email"]

    def talk() -> Any:
        with smtplib.SMTP(facts["smtp_host"], facts["smtp_port"], timeout=5) as client:
            client.login(facts["username"], facts["password"])
            return client.send_message(message())

    assert await asyncio.to_thread(talk) == {}
