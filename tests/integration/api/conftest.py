"""An API on a database in memory: no sockets, no systems, the real trigger."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from browser.seeded import Hired, seed
from integration.api.programs import Programs
from topstitch.api.app import make_app
from topstitch.bootstrap.installation import Installation, wire
from topstitch.cli.publishing import publish_into
from topstitch.connectors.connections import load_connections
from topstitch.connectors.registry import Registry
from topstitch.foundation.clock import SimulatedClock
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.settings import load as load_settings
from topstitch.store import Store, at_once

ONBOARDING = Path(__file__).parents[3] / "src/topstitch/examples/onboarding/employee-onboarding.yaml"
CONNECTIONS = """
[connections.hris]
connector = "workday@1"
base_url = "http://127.0.0.1:1"
tenant = "acme"
[connections.hris.credentials]
client_id = "file:secret"
client_secret = "file:secret"
[hooks.workday]
connection = "hris"
scheme = "standard-webhooks"
secret = "file:hook"
[hooks.guarded]
connection = "hris"
scheme = "token"
secret = "file:secret"
"""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


class Api:
    """Calls the application without a socket."""

    def __init__(self, app: Starlette, house: Installation, folder: Path) -> None:
        self.app, self.house, self.folder = app, house, folder

    async def call(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        sent: list[Any] = []
        chunks = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b""]

        async def receive() -> dict[str, Any]:
            chunk = chunks.pop(0) if chunks else b""
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]
        scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "scheme": "http", "root_path": ""}
        scope |= {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": raw}
        scope |= {"server": ("test", 80), "client": ("test", 1)}
        try:
            await self.app(scope, receive, send)
        except Exception:
            if not sent:
                raise
        start = sent[0]
        found = {k.decode(): v.decode() for k, v in start["headers"]}
        return Answer(start["status"], found, b"".join(m.get("body", b"") for m in sent[1:]))

    async def event(self, document: object, **headers: str) -> Answer:
        kind = {"content-type": "application/cloudevents+json"}
        return await self.call("POST", "/api/v1/events", orjson.dumps(document), {**kind, **headers})


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    (tmp_path / "connections.toml").write_text(CONNECTIONS)
    (tmp_path / "secret").write_text("s3cret-value")
    (tmp_path / "hook").write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZg==")
    settings = load_settings({"data": str(tmp_path), "database": "sqlite::memory:"}, {})
    store = Store.open("sqlite::memory:")
    registry = Registry(load_connections(settings.connections), SimulatedClock())
    house = wire(settings, SimulatedClock(), store, registry)
    text = ONBOARDING.read_text()
    await publish_into(store, text, check(load(text, "x"), registry.contracts()), now_of=settings, by="human:me")
    yield Api(make_app(house.intake, body_bytes_max=4096, standing=lambda: {"ok": True}), house, tmp_path)
    await registry.close()
    store.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Hired]]:
    """The seeded story as a file, told once."""
    path = tmp_path_factory.mktemp("story") / "topstitch.db"
    with Store.open(str(path), threads=False) as store:
        hires = at_once(seed(store))
    return path, hires


@pytest.fixture
def programs(written: tuple[Path, list[Hired]], tmp_path: Path) -> Iterator[Programs]:
    """The seeded story, for a test that changes it."""
    path, hires = written
    shutil.copytree(path.parent, tmp_path / "story")
    with Store.open(str(tmp_path / "story" / path.name), threads=False) as store:
        yield Programs(store, hires)


@pytest.fixture(scope="module")
def told(written: tuple[Path, list[Hired]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """The seeded story, for tests that only look."""
    path, hires = written
    folder = tmp_path_factory.mktemp("told") / "story"
    shutil.copytree(path.parent, folder)
    with Store.open(str(folder / path.name), threads=False) as store:
        yield Programs(store, hires)
