"""The running server keeps to its own document, whatever it is sent: schemathesis asks it over loopback."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from browser.seeded import Hired
from support.commands import command, environment
from topstitch.access.words import digest_of, new_token
from topstitch.foundation.clock import SystemClock
from topstitch.governance.access import NAMED_ONLY, ROLES
from topstitch.model.record import parse_actor
from topstitch.store import Store, at_once, people, tokens
from topstitch.store.people import PersonRow
from topstitch.store.tokens import Token

HERE = Path(__file__).parent
SECONDS_MAX = 240
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance"
)
"""All but those that guess what a request may do, and what ``test_requests`` asks of every route by itself."""
SYSTEMS = {
    "hris": ("workday@1", ("client_id", "client_secret")),
    "directory": ("entra-id@1", ("client_id", "client_secret")),
    "itsm": ("servicenow@1", ("client_id", "client_secret")),
    "crm": ("salesforce@1", ("client_id", "client_secret")),
    "email": ("email@1", ()),
    "chat": ("slack@1", ("token",)),
}


MAIL = """from = "Topstitch <topstitch@example.com>"
smtp_host = "127.0.0.1"
imap_host = "127.0.0.1"
smtp_port = 1
imap_port = 1
smtp_tls = "none"
imap_tls = "none"
"""


def token_of(data: Path) -> str:
    """Return the text of a token that may do everything here."""
    with Store.open(str(data / "topstitch.db"), threads=False) as store:
        now, actor, text = SystemClock().now(), parse_actor("human:dana"), new_token()
        person = PersonRow(id="dana", made_at=now, made_by="human:dana")
        at_once(people.add(store, person, actor, [(role, "") for role in ROLES]))
        token = Token(
            id="tok_1", name="schemathesis", person="dana", maker="dana", scopes=("*", *sorted(NAMED_ONLY)),
            made_at=now, ends_at=now + timedelta(days=1),
        )  # fmt: skip
        at_once(tokens.make(store, digest_of(text), token, actor))
    return text


def connections() -> str:
    """Return connections to systems that do not answer."""
    said = ""
    for alias, (connector, names) in SYSTEMS.items():
        said += f'[connections.{alias}]\nconnector = "{connector}"\nbase_url = "http://127.0.0.1:1"\n'
        said += MAIL if alias == "email" else ""
        if names:
            said += f"[connections.{alias}.credentials]\n"
            said += "".join(f'{name} = "file:secret"\n' for name in names)
    return said


@pytest.fixture
def server(written: tuple[Path, list[Hired]], tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server on the seeded story: its address, and a token that may do everything."""
    data = tmp_path / "data"
    shutil.copytree(written[0].parent, data)
    (data / "connections.toml").write_text(connections())
    (data / "secret").write_text("s3cret-value")
    token = token_of(data)
    settings = environment(TOPSTITCH_ENVIRONMENT="test", TOPSTITCH_REQUESTS_PER_MINUTE="0")
    words = command("serve", "--port", "0", "--data", str(data), "--json", "--log-level", "error")
    process = subprocess.Popen(words, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=30)[1]
        yield json.loads(line)["address"], token
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_the_server_keeps_to_its_document(server: tuple[str, str], tmp_path: Path):
    address, token = server
    words = {
        "--url": f"{address}/api/v1", "--header": f"Authorization: Bearer {token}", "--checks": CHECKS,
        "--phases": "examples,coverage,fuzzing", "--max-examples": "2", "--seed": "20261123", "--workers": "2",
        "--max-failures": "10", "--generation-database": "none", "--suppress-health-check": "all",
        # streams do not end; ``test_streams`` reads them
        "--exclude-path-regex": "stream$",
    }  # fmt: skip
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{address}/api/v1/openapi.json", "--no-color",
            *(word for pair in words.items() for word in pair),
        ],
        cwd=tmp_path, env=environment(SCHEMATHESIS_HOOKS="schemathesis_hooks", PYTHONPATH=str(HERE)),
        capture_output=True, text=True, check=False, timeout=SECONDS_MAX,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
