"""A small IMAP4rev1 server: enough to look messages up and read them (RFC 3501).

LOGIN, AUTHENTICATE PLAIN, CAPABILITY, LIST, STATUS, SELECT, EXAMINE, [UID] SEARCH, [UID] FETCH, [UID]
STORE, NOOP, CHECK, CLOSE, LOGOUT, over one mailbox, INBOX. ``mail`` starts a session per
connection. It knows no sequence of states beyond logged in and selected, and no TLS.
"""

from __future__ import annotations

import base64
import binascii
import email
import email.header
import operator
import re
from asyncio import BaseTransport, StreamReader, StreamWriter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final, Protocol, TypeAlias

from topstitch.foundation.timetext import parse_time
from topstitch.simulators.faults import Fault, FaultKind
from topstitch.simulators.state import Json, Records

LINE_MAX: Final = 65_536
LITERAL_MAX: Final = 1_000_000
Test: TypeAlias = Callable[[int, Json], bool]
_WORD: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\()|(\))|((?:[^\s()"\[]|\[[^\]]*\])+))')
_CAPABILITIES: Final = "IMAP4rev1 AUTH=PLAIN LITERAL+ UIDPLUS"


class ProtocolError(ValueError):
    """A command that cannot be read."""


class Mailbox:
    """INBOX: the messages that have arrived, and their flags."""

    def __init__(self, records: Records, visible: Callable[[], list[Json]]) -> None:
        self._records = records
        self.messages = visible

    def set_flags(self, message: Json, flags: list[str]) -> None:
        """Change a message's flags."""
        self._records.change("messages", str(message["uid"]), {"flags": flags})


class Served(Protocol):
    """What a session needs of the mail system."""

    @property
    def settings(self) -> Json:
        """The mail system's settings."""
        ...

    @property
    def mailbox(self) -> Mailbox:
        """What it keeps."""
        ...

    async def meet(
        self, verb: str, address: str, transport: BaseTransport | None, content: bytes = b""
    ) -> tuple[str, Fault | None]:
        """Ask the fault list about a command."""
        ...

    def note(self, verb: str, address: str, status: int) -> None:
        """Write a command into the journal."""
        ...


class ImapSession:
    """One connection."""

    def __init__(self, simulator: Served, reader: StreamReader, writer: StreamWriter) -> None:
        self._simulator = simulator
        self._reader = reader
        self._writer = writer
        self._logged_in = False
        self._selected = False
        self._read_only = False

    async def talk(self) -> None:
        """Greet, then answer commands until the caller leaves."""
        refusal, _ = await self._simulator.meet("IMAP", "CONNECT", self._writer.transport)
        if refusal:
            return
        await self._send(f"* OK [CAPABILITY {_CAPABILITIES}] simulated IMAP4rev1 ready")
        while words := await self._command():
            if len(words) < 2:
                await self._send("* BAD a command is a tag and a name")
                continue
            tag, name, *arguments = words
            if not await self._answer(tag, name.upper(), arguments):
                return

    async def _answer(self, tag: str, name: str, arguments: list[str]) -> bool:
        """Answer one command; say whether the connection goes on."""
        shown = f"UID {arguments[0].upper()}" if name == "UID" and arguments else name
        refusal, fault = await self._simulator.meet("IMAP", shown, self._writer.transport)
        if fault and fault.kind in {FaultKind.DOWN, FaultKind.TIMEOUT_BEFORE}:
            return False
        if refusal:
            await self._send(f"{tag} NO [UNAVAILABLE] {refusal}")
            return True
        if fault and fault.kind is FaultKind.WRONG_SCHEMA and name in {"UID", "SEARCH", "FETCH"}:
            await self._send("* 7 MESSAGES", f"{tag} OK {name} completed")
            return True
        if name == "LOGOUT":
            await self._send("* BYE logging out", f"{tag} OK LOGOUT completed")
            return False
        try:
            result = await self._perform(name, arguments)
        except (ProtocolError, IndexError) as error:
            result = f"BAD {error}"
        self._simulator.note("IMAP", shown, 200 if result.startswith("OK") else 400)
        await self._send(f"{tag} {result}")
        return True

    async def _perform(self, name: str, arguments: list[str]) -> str:
        match name:
            case "CAPABILITY":
                await self._send(f"* CAPABILITY {_CAPABILITIES}")
            case "NOOP" | "CHECK":
                if self._selected:
                    await self._send(f"* {len(self._messages())} EXISTS")
            case "LOGIN":
                return self._log_in(arguments[0], arguments[1])
            case "AUTHENTICATE":
                return await self._authenticate(arguments)
            case _ if not self._logged_in:
                return "NO log in first"
            case "LIST" | "LSUB":
                await self._send(f'* {name} (\\HasNoChildren) "/" "INBOX"')
            case "STATUS":
                await self._send(self._status())
            case "SELECT" | "EXAMINE":
                return await self._select(name, arguments[0])
            case _ if not self._selected:
                return "NO select a mailbox first"
            case "CLOSE" | "UNSELECT":
                self._selected = False
            case "SEARCH":
                await self._search(arguments, by_uid=False)
            case "FETCH":
                await self._fetch(arguments, by_uid=False)
            case "STORE":
                return await self._store(arguments, by_uid=False)
            case "UID":
                return await self._by_uid(arguments)
            case _:
                return f"BAD {name} is not supported"
        return f"OK {name} completed"

    async def _by_uid(self, arguments: list[str]) -> str:
        name, rest = arguments[0].upper(), arguments[1:]
        match name:
            case "SEARCH":
                await self._search(rest, by_uid=True)
            case "FETCH":
                await self._fetch(rest, by_uid=True)
            case "STORE":
                return await self._store(rest, by_uid=True)
            case _:
                return f"BAD UID {name} is not supported"
        return f"OK UID {name} completed"

    # Logging in and selecting

    def _log_in(self, user: str, password: str) -> str:
        settings = self._simulator.settings
        self._logged_in = (user, password) == (settings["username"], settings["password"])
        return "OK LOGIN completed" if self._logged_in else "NO [AUTHENTICATIONFAILED] invalid credentials"

    async def _authenticate(self, arguments: list[str]) -> str:
        if arguments[0].upper() != "PLAIN":
            return "NO this mechanism is not supported"
        response = arguments[1] if len(arguments) > 1 else ""
        if not response:
            await self._send("+ ")
            response = (await self._reader.readline()).decode().strip()
        try:
            _, user, password = base64.b64decode(response).decode().split("\0")
        except (binascii.Error, ValueError):
            return "BAD the response cannot be read"
        return self._log_in(user, password)

    async def _select(self, name: str, mailbox: str) -> str:
        if mailbox.upper() != "INBOX":
            self._selected = False
            return "NO [NONEXISTENT] there is no such mailbox"
        self._selected, self._read_only = True, name == "EXAMINE"
        messages = self._messages()
        next_uid = (messages[-1]["uid"] if messages else 0) + 1
        await self._send(
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)",
            "* OK [PERMANENTFLAGS (\\Seen \\Flagged \\Deleted)] limited",
            f"* {len(messages)} EXISTS",
            "* 0 RECENT",
            "* OK [UIDVALIDITY 1] valid",
            f"* OK [UIDNEXT {next_uid}] predicted",
        )
        return f"OK [{'READ-ONLY' if self._read_only else 'READ-WRITE'}] {name} completed"

    def _status(self) -> str:
        messages = self._messages()
        unseen = sum(1 for message in messages if "\\Seen" not in message["flags"])
        next_uid = (messages[-1]["uid"] if messages else 0) + 1
        return f"* STATUS INBOX (MESSAGES {len(messages)} RECENT 0 UIDNEXT {next_uid} UIDVALIDITY 1 UNSEEN {unseen})"

    # Searching and fetching

    def _messages(self) -> list[Json]:
        return self._simulator.mailbox.messages()

    async def _search(self, arguments: list[str], *, by_uid: bool) -> None:
        if arguments[:1] and arguments[0].upper() == "CHARSET":
            arguments = arguments[2:]
        messages = self._messages()
        test = _conjunction(list(arguments), len(messages))
        hits = [(index, message) for index, message in enumerate(messages, 1) if test(index, message)]
        numbers = " ".join(str(message["uid"] if by_uid else index) for index, message in hits)
        await self._send(f"* SEARCH {numbers}".rstrip())

    async def _fetch(self, arguments: list[str], *, by_uid: bool) -> None:
        asked = [word for word in arguments[1:] if word not in "()"]
        for index, message in self._chosen(arguments[0], by_uid=by_uid):
            await self._send_bytes(f"* {index} FETCH ".encode() + _fetched(message, asked, by_uid=by_uid) + b"\r\n")
            if any(word.upper() in {"RFC822", "BODY[]", "BODY[TEXT]"} for word in asked) and not self._read_only:
                self._simulator.mailbox.set_flags(message, sorted({*message["flags"], "\\Seen"}))

    async def _store(self, arguments: list[str], *, by_uid: bool) -> str:
        if self._read_only:
            return "NO the mailbox is selected read-only"
        action, flags = arguments[1].upper(), {word for word in arguments[2:] if word not in "()"}
        for index, message in self._chosen(arguments[0], by_uid=by_uid):
            held = set(message["flags"])
            after = held | flags if action.startswith("+") else held - flags if action.startswith("-") else flags
            self._simulator.mailbox.set_flags(message, sorted(after))
            if not action.endswith(".SILENT"):
                await self._send(f"* {index} FETCH (FLAGS ({' '.join(sorted(after))}) UID {message['uid']})")
        return "OK STORE completed"

    def _chosen(self, numbers: str, *, by_uid: bool) -> list[tuple[int, Json]]:
        messages = list(enumerate(self._messages(), 1))
        highest = messages[-1][1]["uid"] if by_uid and messages else len(messages)
        wanted = _number_set(numbers, highest)
        return [(index, message) for index, message in messages if wanted(message["uid"] if by_uid else index)]

    # Lines

    async def _command(self) -> list[str]:
        """Return the words of the next command, literals included; nothing at the end."""
        words: list[str] = []
        while True:
            line = await self._reader.readline()
            if not line or len(line) > LINE_MAX:
                return words
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            literal = re.search(r"\{(\d+)(\+?)\}$", text)
            words.extend(_words(text[: literal.start()] if literal else text))
            if literal is None:
                return words or [""]
            if int(literal[1]) > LITERAL_MAX:
                return []
            if not literal[2]:
                await self._send("+ go on")
            words.append((await self._reader.readexactly(int(literal[1]))).decode("utf-8", "replace"))

    async def _send(self, *lines: str) -> None:
        await self._send_bytes("".join(f"{line}\r\n" for line in lines).encode())

    async def _send_bytes(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _words(text: str) -> list[str]:
    words, position = [], 0
    while position < len(text.rstrip()):
        match = _WORD.match(text, position)
        if match is None:
            raise ProtocolError(f"cannot read {text[position:]!r}")
        quoted, opening, closing, atom = match.groups()
        words.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else opening or closing or atom)
        position = match.end()
    return words


def _number_set(text: str, highest: int) -> Callable[[int], bool]:
    ranges = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        low, high = (highest if end == "*" else int(end) if end.isdigit() else -1 for end in (first, last or first))
        if -1 in (low, high):
            raise ProtocolError(f"{text!r} is no set of numbers")
        ranges.append((min(low, high), max(low, high)))
    return lambda number: any(low <= number <= high for low, high in ranges)


def _conjunction(words: list[str], highest: int) -> Test:
    tests = []
    while words:
        tests.append(_criterion(words, highest))
    return lambda index, message: all(test(index, message) for test in tests)


def _criterion(words: list[str], highest: int) -> Test:
    name = words.pop(0)
    upper = name.upper()
    if name == "(":
        depth_end = words.index(")")
        inner, words[: depth_end + 1] = words[:depth_end], []
        return _conjunction(inner, highest)
    if upper == "ALL":
        return lambda _index, _message: True
    if upper == "NOT":
        inner_test = _criterion(words, highest)
        return lambda index, message: not inner_test(index, message)
    if upper == "OR":
        left, right = _criterion(words, highest), _criterion(words, highest)
        return lambda index, message: left(index, message) or right(index, message)
    if upper in _FLAGS:
        flag, held = _FLAGS[upper]
        return lambda _index, message: (flag in message["flags"]) is held
    if upper == "HEADER":
        field, value = words.pop(0), words.pop(0).lower()
        return lambda _index, message: any(value in text.lower() for text in _header(message, field))
    if upper in {"SUBJECT", "FROM", "TO", "CC"}:
        value = words.pop(0).lower()
        return lambda _index, message: any(value in text.lower() for text in _header(message, upper))
    if upper in {"TEXT", "BODY"}:
        value = words.pop(0).lower()
        return lambda _index, message: value in message["raw"].lower()
    if upper in {"SINCE", "BEFORE", "ON"}:
        return _by_date(upper, words.pop(0))
    numbers = _number_set(words.pop(0) if upper == "UID" else name, highest)
    return lambda index, message: numbers(message["uid"] if upper == "UID" else index)


_FLAGS: Final = {
    "SEEN": ("\\Seen", True),
    "UNSEEN": ("\\Seen", False),
    "FLAGGED": ("\\Flagged", True),
    "UNFLAGGED": ("\\Flagged", False),
    "DELETED": ("\\Deleted", True),
    "UNDELETED": ("\\Deleted", False),
    "ANSWERED": ("\\Answered", True),
    "UNANSWERED": ("\\Answered", False),
}


def _by_date(name: str, text: str) -> Test:
    try:
        day = datetime.strptime(text, "%d-%b-%Y").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise ProtocolError(f"{text!r} is no date") from error
    compare = {"SINCE": operator.ge, "BEFORE": operator.lt, "ON": operator.eq}[name]
    return lambda _index, message: bool(compare(parse_time(message["at"]).date(), day))


def _header(message: Json, field: str) -> list[str]:
    """Return a header's values, decoded."""
    headers = email.message_from_bytes(message["raw"].encode("latin-1"))
    return [_decoded(str(value)) for value in headers.get_all(field, [])]


def _decoded(value: str) -> str:
    """Return a header's value without its transfer encoding."""
    return str(email.header.make_header(email.header.decode_header(value)))


def _fetched(message: Json, asked: list[str], *, by_uid: bool) -> bytes:
    names = [word.upper() for word in asked]
    if "ALL" in names or "FULL" in names or "FAST" in names:
        names = ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]
        asked = names
    if by_uid and "UID" not in names:
        asked = ["UID", *asked]
    return b"(" + b" ".join(filter(None, (_item(message, word) for word in asked))) + b")"


def _item(message: Json, word: str) -> bytes:
    raw = message["raw"].encode("latin-1")
    name = word.upper().replace("BODY.PEEK", "BODY")
    match name:
        case "UID":
            return f"UID {message['uid']}".encode()
        case "FLAGS":
            return f"FLAGS ({' '.join(message['flags'])})".encode()
        case "INTERNALDATE":
            return f'INTERNALDATE "{parse_time(message["at"]):%d-%b-%Y %H:%M:%S +0000}"'.encode()
        case "RFC822.SIZE":
            return f"RFC822.SIZE {len(raw)}".encode()
        case "ENVELOPE":
            return _envelope(message)
        case "RFC822" | "BODY[]":
            return _literal(name, raw)
        case "RFC822.HEADER" | "BODY[HEADER]":
            return _literal(name, _split(raw)[0])
        case "RFC822.TEXT" | "BODY[TEXT]":
            return _literal(name, _split(raw)[1])
    fields = re.fullmatch(r"BODY\[HEADER\.FIELDS \((.*)\)\]", name)
    if fields:
        return _literal(name, _some_headers(raw, fields[1].split()))
    raise ProtocolError(f"FETCH {word} is not supported")


def _literal(name: str, data: bytes) -> bytes:
    return f"{name} {{{len(data)}}}\r\n".encode() + data


def _split(raw: bytes) -> tuple[bytes, bytes]:
    head, separator, body = raw.partition(b"\r\n\r\n")
    return (head + separator, body) if separator else (raw.partition(b"\n\n")[0] + b"\n\n", raw.partition(b"\n\n")[2])


def _some_headers(raw: bytes, names: list[str]) -> bytes:
    headers = email.message_from_bytes(raw)
    wanted = {name.lower() for name in names}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name.lower() in wanted]
    return "".join(lines).encode("utf-8", "replace") + b"\r\n"


def _envelope(message: Json) -> bytes:
    def quoted(value: Any) -> str:
        text = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"' if value else "NIL"

    def addresses(texts: list[str]) -> str:
        pairs = (text.strip("<> ").partition("@") for text in texts)
        return (
            "(" + "".join(f"(NIL NIL {quoted(box)} {quoted(host)})" for box, _, host in pairs) + ")" if texts else "NIL"
        )

    sender = " ".join([addresses([message["from"]])] * 3)
    date = quoted(format_datetime(parse_time(message["at"])))
    to, message_id = addresses(message["to"]), quoted(message["message_id"])
    return f"ENVELOPE ({date} {quoted(message['subject'])} {sender} {to} NIL NIL NIL {message_id})".encode()
