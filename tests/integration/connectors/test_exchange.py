"""A request leaves once and its own answer comes back, over real sockets, whatever the server does with them."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings, strategies as st

from topstitch.connectors import exchange as exchange_module
from topstitch.connectors.exchange import (
    HEAD_BYTES_MAX,
    KEPT_SECONDS,
    Exchanges,
    LostError,
    Received,
    UnreachableError,
    UnsendableError,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Speak = Callable[[bytes, asyncio.Transport], None]


class Wire:
    """A server that says word for word what a test tells it, and remembers what it was sent."""

    def __init__(self, speak: Speak) -> None:
        self.speak = speak
        self.port = 0
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = asyncio.Event()
        self.open: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Spoken(asyncio.Protocol):
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.wire.connections += 1
        self.wire.open.add(self.transport)

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, end, rest = self.got.partition(b"\r\n\r\n")
        length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
        if end and len(rest) >= length:
            request, self.got = self.got, b""
            self.wire.requests.append(request)
            self.wire.speak(request, self.transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.wire.open.discard(self.transport)
        self.wire.gone.set()


@asynccontextmanager
async def wired(
    speak: Speak, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", protocol: type[Spoken] = Spoken
) -> AsyncIterator[Wire]:
    wire = Wire(speak)
    server = await asyncio.get_running_loop().create_server(lambda: protocol(wire), host, 0, ssl=tls)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        while wire.open:
            wire.gone.clear()
            next(iter(wire.open)).abort()
            await asyncio.wait_for(wire.gone.wait(), 10)


def saying(*answers: bytes) -> Speak:
    """Say one after another, the last again and again."""
    left = list(answers)

    def speak(_request: bytes, transport: asyncio.Transport) -> None:
        transport.write(left.pop(0) if len(left) > 1 else left[0])

    return speak


def then_close(answer: bytes) -> Speak:
    def speak(_request: bytes, transport: asyncio.Transport) -> None:
        transport.write(answer)
        transport.close()

    return speak


@pytest.fixture
async def exchanges() -> AsyncIterator[Exchanges]:
    made = Exchanges()
    yield made
    await made.close()


async def get(exchanges: Exchanges, url: str, *, method: str = "GET", data: bytes | None = None) -> Received:
    return await asyncio.wait_for(exchanges.exchange(method, url, {"Accept": "x/y"}, data, connect_seconds=5), 10)


# --- What leaves ----------------------------------------------------------------------------------


async def test_a_request_is_written_as_the_standard_has_it(exchanges: Exchanges) -> None:
    async with wired(saying(OK)) as wire:
        await get(exchanges, f"{wire.url}/a%20b?c=d#e")
        await get(exchanges, f"{wire.url}?only=query", method="POST")
        await get(exchanges, wire.url, method="PUT", data=b"{}")
    start, put = (
        b"Host: 127.0.0.1:%d\r\nAccept-Encoding: gzip, deflate\r\nAccept: x/y\r\n" % wire.port,
        b"PUT / HTTP/1.1",
    )
    assert wire.requests == [
        b"GET /a%20b?c=d HTTP/1.1\r\n" + start + b"\r\n",
        b"POST /?only=query HTTP/1.1\r\n" + start + b"Content-Length: 0\r\n\r\n",
        put + b"\r\n" + start + b"Content-Length: 2\r\n\r\n{}",
    ]


async def test_an_address_of_the_sixth_version_has_its_brackets(exchanges: Exchanges) -> None:
    async with wired(saying(OK), host="::1") as wire:
        await get(exchanges, f"http://[::1]:{wire.port}/")
    assert b"Host: [::1]:%d\r\n" % wire.port in wire.requests[0]


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http:///path", "http://x/a b", "http://x/a\r\nHost: y", "http://x:port/", "http://[::1/", ""]
)
async def test_what_is_no_address_is_never_sent(exchanges: Exchanges, url: str) -> None:
    with pytest.raises(UnsendableError):
        await get(exchanges, url)


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X\r\nY": "b"}, {"X": "a\0"}])
async def test_a_header_cannot_bring_another_with_it(exchanges: Exchanges, headers: dict[str, str]) -> None:
    async with wired(saying(OK)) as wire:
        with pytest.raises(UnsendableError, match="the header 'X"):
            await exchanges.exchange("GET", wire.url, headers, None, connect_seconds=5)
    assert wire.connections == 0


# --- Connections are kept, and only those that can be --------------------------------------------


async def test_one_after_another_shares_a_connection_and_two_at_once_do_not(exchanges: Exchanges) -> None:
    async with wired(saying(OK)) as wire:
        for _ in range(3):
            assert (await get(exchanges, wire.url)).body == b"ok"
        assert wire.connections == 1
        await asyncio.gather(get(exchanges, wire.url), get(exchanges, wire.url))
        assert wire.connections == 2


async def test_a_long_answer_leaves_its_connection_to_the_next(exchanges: Exchanges) -> None:
    async with wired(saying(framed(bytes(3 * HEAD_BYTES_MAX)))) as wire:
        for _ in range(2):
            assert len((await get(exchanges, wire.url)).body) == 3 * HEAD_BYTES_MAX
        assert wire.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + OK,  # the second answer is nobody's, and must not become the next request's
        OK + b"rubbish",
    ],
    ids=["it closes", "an old version", "two answers", "rubbish behind it"],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(exchanges: Exchanges, answer: bytes) -> None:
    async with wired(saying(answer)) as wire:
        for _ in range(2):
            assert (await get(exchanges, wire.url)).body == b"ok"
        assert wire.connections == 2


async def test_what_comes_without_a_question_ends_the_connection(exchanges: Exchanges) -> None:
    async with wired(saying(OK)) as wire:
        await get(exchanges, wire.url)
        next(iter(wire.open)).write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await asyncio.wait_for(wire.gone.wait(), 10)
        assert (await get(exchanges, wire.url)).body == b"ok"


async def test_a_connection_that_the_server_has_closed_is_not_used(exchanges: Exchanges) -> None:
    async with wired(then_close(OK)) as wire:
        for _ in range(3):
            assert (await get(exchanges, wire.url)).status == 200
            await asyncio.wait_for(wire.gone.wait(), 10)
            wire.gone.clear()
        assert len(wire.requests) == 3


async def test_what_has_waited_long_is_closed(exchanges: Exchanges) -> None:
    now = asyncio.get_running_loop().time()
    async with wired(saying(OK)) as wire:
        await get(exchanges, wire.url)
        exchanges.drop_idle(now - KEPT_SECONDS)
        await get(exchanges, wire.url)
        assert wire.connections == 1
        exchanges.drop_idle(now + KEPT_SECONDS)
        await asyncio.wait_for(wire.gone.wait(), 10)
        await get(exchanges, wire.url)
        assert wire.connections == 2


async def test_closing_ends_what_is_idle_and_lets_the_rest_end_by_itself(exchanges: Exchanges) -> None:
    slow_ones: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

    def speak(request: bytes, transport: asyncio.Transport) -> None:
        if b"/slow" in request:
            slow_ones.put_nowait(transport)
        else:
            transport.write(OK)

    async with wired(speak) as wire:
        slow = asyncio.create_task(get(exchanges, f"{wire.url}/slow"))
        answering = await asyncio.wait_for(slow_ones.get(), 10)
        await get(exchanges, wire.url)
        await exchanges.close()
        await asyncio.wait_for(wire.gone.wait(), 10)
        wire.gone.clear()
        answering.write(OK)
        assert (await slow).body == b"ok"
        await asyncio.wait_for(wire.gone.wait(), 10)


async def test_whoever_is_cancelled_leaves_no_connection_on_which_the_answer_may_still_come(
    exchanges: Exchanges,
) -> None:
    asked = asyncio.Event()

    def speak(request: bytes, transport: asyncio.Transport) -> None:
        asked.set()
        if b"/never" not in request:
            transport.write(OK)

    async with wired(speak) as wire:
        never = asyncio.create_task(get(exchanges, f"{wire.url}/never"))
        await asked.wait()
        never.cancel()
        with pytest.raises(asyncio.CancelledError):
            await never
        await asyncio.wait_for(wire.gone.wait(), 10)
        assert (await get(exchanges, wire.url)).body == b"ok"
        assert wire.connections == 2


# --- What comes back ------------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nX-Late: trailer\r\n\r\n"
PACKED = gzip.compress(b"ok", mtime=0)


def framed(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


WHOLE = {
    "of a length": OK,
    "in chunks": CHUNKED,
    "after a permission to go on": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "after an early hint": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    "as gzip": framed(PACKED, b"Content-Encoding: gzip"),
    "as zlib": framed(zlib.compress(b"ok"), b"Content-Encoding: Deflate"),
    "as bare deflate": framed(zlib.compress(b"ok")[2:-4], b"content-encoding: deflate"),
    "packed twice": framed(gzip.compress(PACKED), b"Content-Encoding: gzip, x-gzip"),
    "packed by nobody": framed(b"ok", b"Content-Encoding: identity"),
}


@given(kind=st.sampled_from(sorted(WHOLE)), cuts=st.sets(st.integers(1, 200), max_size=12))
@settings(max_examples=60, deadline=None)
async def test_an_answer_is_the_same_however_its_bytes_are_cut(kind: str, cuts: set[int]) -> None:
    answer, edges = WHOLE[kind], sorted(cuts)

    def speak(_request: bytes, transport: asyncio.Transport) -> None:
        pieces = [answer[begin:end] for begin, end in zip([0, *edges], [*edges, len(answer)], strict=True)]

        def say() -> None:
            transport.write(pieces.pop(0))
            if pieces:
                asyncio.get_running_loop().call_soon(say)

        say()

    exchanges = Exchanges()
    async with wired(speak) as wire:
        for _ in range(2):
            received = await get(exchanges, wire.url)
            assert (received.status, received.body) == (200, b"ok")
            assert "x-late" not in received.headers
            assert "link" not in received.headers
        assert wire.connections == 1
    await exchanges.close()


async def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_body(exchanges: Exchanges) -> None:
    async with wired(then_close(b"HTTP/1.1 200 OK\r\n\r\nall of it")) as wire:
        assert (await get(exchanges, wire.url)).body == b"all of it"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    ],
    ids=["204", "304", "HEAD", "HEAD after a hint"],
)
async def test_some_answers_have_no_body_whatever_they_announce(
    exchanges: Exchanges, method: str, answer: bytes
) -> None:
    async with wired(saying(answer)) as wire:
        for _ in range(2):
            received = await get(exchanges, wire.url, method=method)
            assert received.status in (200, 204, 304)
            assert received.body == b""


async def test_headers_are_found_in_whatever_case(exchanges: Exchanges) -> None:
    answer = framed(b"ok", b"ReTrY-aFtEr: 7", b"X-Two: a", b"x-two: b", "X-Name: Jörg".encode())
    async with wired(saying(answer)) as wire:
        headers = (await get(exchanges, wire.url)).headers
    assert (headers["Retry-After"], headers["x-two"], headers.getall("X-TWO")) == ("7", "a", ["a", "b"])
    assert headers["x-name"] == "Jörg"


async def test_an_answer_that_comes_before_all_was_read_is_taken(exchanges: Exchanges) -> None:
    refused = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"

    class Impatient(Spoken):
        def data_received(self, _data: bytes) -> None:
            self.transport.pause_reading()
            self.transport.write(refused)

    async with wired(saying(refused), protocol=Impatient) as wire:
        assert (await get(exchanges, wire.url, method="PUT", data=bytes(20_000_000))).status == 413
        assert (await get(exchanges, wire.url, method="PUT", data=b"{}")).status == 413
        assert wire.connections == 2, "what is still being sent must not stand before the next request"


# --- How it breaks --------------------------------------------------------------------------------


BROKEN = {
    "nothing": (b"", "broke the connection", ""),
    "less than announced": (framed(b"whole")[:-1], "broke the connection", ""),
    "half a chunk": (CHUNKED[:-40], "broke the connection", ""),
    "half a head": (OK[:20], "broke the connection", ""),
    "another protocol": (b"220 mail.example ESMTP\r\n", "answered with what is no HTTP", "HTTP/"),
    "no number": (OK.replace(b"2\r", b"x\r"), "answered with what is no HTTP", "Content-Length"),
    "a change of protocol": (
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "answered with what is no", "protocol",
    ),
    "a head without end": (OK[:17] + b"X: " + b"y" * HEAD_BYTES_MAX, "answered too much", "head of more"),
    "half a gzip": (framed(PACKED[:-4], b"Content-Encoding: gzip"), "cannot be unpacked", "its end is missing"),
    "no gzip": (framed(b"plain", b"Content-Encoding: gzip"), "cannot be unpacked", ""),
    "a coding unasked": (framed(PACKED, b"Content-Encoding: br"), "cannot be unpacked", "'br' was not asked for"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_answer_is_lost_and_the_request_is_never_sent_again(exchanges: Exchanges, kind: str) -> None:
    answer, what, cause = BROKEN[kind]
    async with wired(then_close(answer)) as wire:
        with pytest.raises(LostError, match=what) as lost:
            await get(exchanges, wire.url, method="POST", data=b"{}")
        assert cause in lost.value.cause
        await asyncio.wait_for(wire.gone.wait(), 10)
        assert len(wire.requests) == 1


async def test_a_kept_connection_that_breaks_under_a_request_does_not_send_it_again(exchanges: Exchanges) -> None:
    heard: list[bytes] = []

    def speak(request: bytes, transport: asyncio.Transport) -> None:
        heard.append(request)
        if len(heard) == 1:
            transport.write(OK)
        else:
            transport.abort()

    async with wired(speak) as wire:
        await get(exchanges, wire.url)
        with pytest.raises(LostError, match="broke the connection"):
            await get(exchanges, wire.url, method="POST", data=b"{}")
        assert (wire.connections, len(heard)) == (1, 2)


async def test_a_small_answer_cannot_unpack_into_too_much(
    exchanges: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "BODY_BYTES_MAX", 1_000_000)
    bomb = framed(gzip.compress(bytes(1_000_001)), b"Content-Encoding: gzip")
    async with wired(saying(bomb, framed(bytes(2_000_000)), framed(bytes(1_000_000)))) as wire:
        with pytest.raises(LostError) as lost:
            await get(exchanges, wire.url)
        assert "more than 1000000 bytes" in lost.value.cause
        with pytest.raises(LostError) as lost:
            await get(exchanges, wire.url)
        assert "a body of more than 1000000 bytes" in lost.value.cause
        assert len((await get(exchanges, wire.url)).body) == 1_000_000


async def test_where_nobody_listens_nothing_was_sent(exchanges: Exchanges) -> None:
    async with wired(saying(OK)) as wire:
        pass
    with pytest.raises(UnreachableError, match=r"Connect call failed|refused"):
        await get(exchanges, wire.url)
    with pytest.raises(UnreachableError, match=r"not known|resolution|No address"):
        await get(exchanges, "http://nobody.invalid/")


# --- TLS ------------------------------------------------------------------------------------------


def certified(folder: Path) -> ssl.SSLContext:
    """Make a certificate for localhost that signs itself; return what a server needs of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.2"))])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    built = built.add_extension(names, critical=False)
    signed = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA256()
    )
    pem, unlocked = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(signed.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unlocked))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


async def test_tls_is_spoken_with_whom_the_system_trusts_and_only_under_its_name(
    exchanges: Exchanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange_module._tls.cache_clear()
    async with wired(saying(OK), tls=certified(tmp_path)) as wire:
        with pytest.raises(UnreachableError, match=r"self.signed"):
            await get(exchanges, f"https://localhost:{wire.port}/")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        exchange_module._tls.cache_clear()
        assert (await get(exchanges, f"https://localhost:{wire.port}/")).body == b"ok"
        with pytest.raises(UnreachableError, match="IP address mismatch"):
            await get(exchanges, f"https://127.0.0.1:{wire.port}/")
        assert len(wire.requests) == 1, "nothing is sent to whom nobody trusts"
    exchange_module._tls.cache_clear()
