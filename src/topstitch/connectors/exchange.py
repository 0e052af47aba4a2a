"""Carries one request to a server and its answer back, over HTTP/1.1 connections that are kept for the next.

``http`` decides what an answer means, or its absence; here is only how bytes leave and come
back. Two things are certain here that general clients leave open: nothing is ever sent a second
time, and a failure before the first byte left (``UnreachableError``) is told from one after it
(``LostError``). No redirects, no cookies, no proxies. Answers are parsed by llhttp, connections
opened as RFC 8305 has it; what is said of messages follows RFC 9110 and 9112. Why it is our
own: decision 0008.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from socket import AI_NUMERICHOST, IPPROTO_TCP, SO_KEEPALIVE, SOCK_STREAM, SOL_SOCKET, gaierror, getaddrinfo
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import urlsplit

import httptools
from multidict import CIMultiDict

from topstitch.foundation.deadlines import within
from topstitch.foundation.later import Later

if TYPE_CHECKING:
    import ssl

    import aiohappyeyeballs
    from aiohappyeyeballs import AddrInfoType as AddrInfo
else:
    aiohappyeyeballs, ssl = Later("aiohappyeyeballs"), Later("ssl")

KEPT_SECONDS: Final = 15.0
"""So long a connection without work is kept: less than what servers and what stands before them allow."""
HEAD_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
NEXT_ADDRESS_SECONDS: Final = 0.25
"""The Connection Attempt Delay of RFC 8305, section 5."""

_ADDRESS: Final = re.compile(r"(https?://[^/?#\s]+)([!-\"$-~]*)(?:#.*)?")
_NEVER_A_BODY: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_FIRST_FINAL: Final = 200
_SWITCHING: Final = 101
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})
_GZIP_OR_ZLIB: Final = 32


class UnreachableError(Exception):
    """No connection came about, so nothing was sent."""


class LostError(Exception):
    """The request may have been sent, and no whole answer came. The text is a verb's: "broke the connection"."""

    def __init__(self, what: str, cause: str = "") -> None:
        super().__init__(what)
        self.cause = cause


class UnsendableError(ValueError):
    """The request cannot be written as HTTP, so nothing was sent."""


class Server(NamedTuple):
    """Where connections of one kind lead."""

    scheme: str
    host: str
    port: int
    name: str
    """As the Host header has it."""


class Received(NamedTuple):
    """An answer, whole."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


class Exchanges:
    """The connections to some servers; those without work wait for the next request."""

    def __init__(self) -> None:
        self._idle: dict[Server, list[tuple[float, _Connection]]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, *, connect_seconds: float
    ) -> Received:
        """Send a request once and return its answer.

        Raises ``UnsendableError`` and ``UnreachableError`` when nothing was sent, ``LostError``
        when something may have been. Whoever cancels this ends the connection too.
        """
        server, target = _address(url)
        request = _request(method, target, server.name, headers, data)
        connection = self._take(server) or await _connected(server, connect_seconds)
        try:
            received = await connection.ask(request, bodiless=method == "HEAD")
        except BaseException:
            connection.abort()
            raise
        if connection.is_open and not self._closed:
            self._keep(server, connection)
        else:
            connection.abort()
        return received

    async def close(self) -> None:
        """End all connections without work; the others end with theirs."""
        self._closed = True
        self.drop_idle(float("inf"))
        await asyncio.sleep(0)  # what is aborted is gone with the loop's next turn

    def drop_idle(self, since: float) -> None:
        """End the connections that have had no work since then, in the loop's time."""
        for server, waiting in list(self._idle.items()):
            young = []
            for at, connection in waiting:
                if at > since and connection.is_open:
                    young.append((at, connection))
                else:
                    connection.abort()
            if young:
                self._idle[server] = young
            else:
                del self._idle[server]
        if self._sweep is not None and not self._idle:
            self._sweep.cancel()
            self._sweep = None

    def _take(self, server: Server) -> _Connection | None:
        """Return the connection that worked last, if it can be used still."""
        waiting = self._idle.get(server)
        while waiting:
            at, connection = waiting.pop()
            if connection.is_open and asyncio.get_running_loop().time() - at < KEPT_SECONDS:
                return connection
            connection.abort()
        return None

    def _keep(self, server: Server, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        waiting = self._idle.get(server)
        if waiting is None:
            waiting = self._idle[server] = []
        waiting.append((loop.time(), connection))
        if self._sweep is None:
            self._sweep = loop.call_later(KEPT_SECONDS, self._swept, loop)

    def _swept(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = None
        self.drop_idle(loop.time() - KEPT_SECONDS)
        if self._idle:
            self._sweep = loop.call_later(KEPT_SECONDS, self._swept, loop)


class _Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    __slots__ = (
        "_bodiless", "_body", "_got", "_headers", "_is_framed", "_is_head_whole", "_may_stay", "_parser", "_transport",
        "_waiter",
    )  # fmt: skip
    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Received] | None = None
        self._may_stay = True
        self._got = 0
        self._begin()

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent here."""
        return self._may_stay and not self._transport.is_closing()

    def ask(self, request: bytes, *, bodiless: bool) -> asyncio.Future[Received]:
        """Send a request; the future has its answer, or ``LostError``."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._bodiless = bodiless
        self._transport.write(request)
        return self._waiter

    def abort(self) -> None:
        """End it at once."""
        self._may_stay = False
        self._transport.abort()

    # -- what the transport tells ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._parser is None:
            self.abort()  # nobody has asked: what comes now must not be the next request's answer
            return
        self._got += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lose("answered with what is no HTTP", str(error.__context__ or error))
            return
        if self._got > HEAD_BYTES_MAX and not self._is_head_whole:
            self._lose("answered too much", f"a head of more than {HEAD_BYTES_MAX} bytes")
        elif self._got > HEAD_BYTES_MAX + BODY_BYTES_MAX:
            self._lose("answered too much", f"a body of more than {BODY_BYTES_MAX} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        """Without a length, the end of the connection is the end of the body (RFC 9112, section 6.3)."""
        if exc is None and self._is_head_whole and not self._is_framed and self._parser is not None:
            self._finish(self._parser.get_status_code())
        self._lose("broke the connection", reason_of(exc) if exc is not None else "")
        self._parser = None  # it refers to this connection, and this to it

    # -- what the parser tells ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._waiter is None:  # bytes behind the answer: whoever sent them cannot be followed any more
            self.abort()
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_head_whole:
            return  # trailers tell nothing that we use
        if name.lower() in _FRAMING:
            self._is_framed = True
        self._headers.append((name.decode("latin-1"), value.decode("utf-8", "surrogateescape")))

    def on_headers_complete(self) -> None:
        self._is_head_whole = True
        parser = self._parser
        assert parser is not None
        if self._bodiless and parser.get_status_code() >= _FIRST_FINAL:
            self._may_stay = False  # the parser waits for the body that a length announces, and none comes
            self._finish(parser.get_status_code())
        elif parser.get_status_code() in _BODILESS:
            self._is_framed = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        if status == _SWITCHING:
            raise ValueError("another protocol, which nobody asked for")
        if status < _FIRST_FINAL:
            self._begin()  # an interim answer (RFC 9110, section 15.2); the answer is to come
            return
        if not parser.should_keep_alive() or self._transport.get_write_buffer_size():
            self._may_stay = False  # it closes, or it answered before it had read all
        self._finish(status)

    # -- how an answer ends ------------------------------------------------------------------------

    def _begin(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._is_head_whole = self._is_framed = False

    def _finish(self, status: int) -> None:
        waiter, self._waiter = self._waiter, None
        self._got = 0
        if waiter is None or waiter.done():
            return
        headers = CIMultiDict(self._headers)
        try:
            body = _decoded(b"".join(self._body), headers.get("Content-Encoding", ""))
        except (ValueError, zlib.error) as error:
            waiter.set_exception(LostError("answered with a body that cannot be unpacked", str(error)))
        else:
            waiter.set_result(Received(status, headers, body))
        self._begin()

    def _lose(self, what: str, cause: str) -> None:
        self.abort()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(LostError(what, cause))


async def _connected(server: Server, seconds: float) -> _Connection:
    """Open a connection, whichever of the server's addresses answers first; bounded in seconds."""
    loop = asyncio.get_running_loop()
    try:
        with within(seconds):
            sock = await aiohappyeyeballs.start_connection(
                await _addresses(server), happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1, loop=loop
            )
            try:
                sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
                tls = server.scheme == "https"
                _, connection = await loop.create_connection(
                    _Connection, sock=sock, ssl=_tls() if tls else None, server_hostname=server.host if tls else None
                )
            except BaseException:
                sock.close()
                raise
            return connection
    except TimeoutError:
        raise UnreachableError(f"no connection within {seconds:g} s") from None
    except OSError as error:
        raise UnreachableError(reason_of(error)) from None


async def _addresses(server: Server) -> Sequence[AddrInfo]:
    """Return where a server may be reached; a host that is an address is asked of nobody."""
    try:
        return getaddrinfo(server.host, server.port, type=SOCK_STREAM, proto=IPPROTO_TCP, flags=AI_NUMERICHOST)
    except gaierror:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(server.host, server.port, type=SOCK_STREAM, proto=IPPROTO_TCP)


def reason_of(error: Exception) -> str:
    """Return what the operating system, or TLS, says of a failure."""
    said = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return str(said or type(error).__name__)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _address(url: str) -> tuple[Server, str]:
    """Divide an address into its server and what the request line asks of it."""
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise UnsendableError(f"{url!r} is no address")
    origin, target = found.groups()
    if not target.startswith("/"):
        target = f"/{target}"
    return _server(origin), target


@lru_cache(maxsize=256)
def _server(origin: str) -> Server:
    try:
        parts = urlsplit(origin)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = (parts.hostname or "").encode("idna" if not origin.isascii() else "ascii").decode()
    except ValueError:
        host, port = "", 0
    if not host:
        raise UnsendableError(f"{origin!r} is no address")
    name = f"[{host}]" if ":" in host else host
    return Server(parts.scheme, host, port, name if parts.port is None else f"{name}:{port}")


def _request(method: str, target: str, host: str, headers: Mapping[str, str], data: bytes | None) -> bytes:
    """Write a request as it leaves."""
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip, deflate\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if data is not None or method not in _NEVER_A_BODY:
        lines.append(f"Content-Length: {len(data or b'')}\r\n")
    head = "".join(lines)
    ends = len(lines) + 2
    if head.count("\n") != ends or head.count("\r") != ends or "\0" in head:
        raise UnsendableError(f"the header {_torn(headers)!r} holds a line break or a NUL")
    return head.encode() + b"\r\n" + data if data else head.encode() + b"\r\n"


def _torn(headers: Mapping[str, str]) -> str:
    return next((name for name, value in headers.items() if set("\r\n\0") & set(name + value)), "")


def _decoded(body: bytes, coding: str) -> bytes:
    """Unpack a body by its Content-Encoding, the last coding first (RFC 9110, section 8.4)."""
    if not coding:
        return body
    for name in reversed(coding.lower().split(",")):
        match name.strip():
            case "gzip" | "x-gzip" | "deflate":
                body = _unpacked(body)
            case "" | "identity":
                pass
            case other:
                raise ValueError(f"{other!r} was not asked for")
    return body


def _unpacked(body: bytes) -> bytes:
    """Unpack gzip or zlib, whichever it is, or the bare deflate that some servers send for zlib; never too much."""
    bare = bool(body) and body[0] & 0x0F != zlib.DEFLATED and not body.startswith(b"\x1f\x8b")
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS | _GZIP_OR_ZLIB)
    found = unpacking.decompress(body, BODY_BYTES_MAX)
    if unpacking.unconsumed_tail:
        raise ValueError(f"more than {BODY_BYTES_MAX} bytes")
    if body and not unpacking.eof:
        raise ValueError("its end is missing")
    return found
