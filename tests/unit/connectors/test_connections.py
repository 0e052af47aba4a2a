"""``connections.toml`` is read strictly, and every error says where and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from topstitch.connectors.connections import load_connections
from topstitch.foundation.errors import OperatorError

GOOD = """\
[connections.directory]
connector = "entra-id@1"
base_url = "https://graph.example"
timeout = "20s"
rate = "10/s"
burst = 3
concurrency = 8
tenant = "acme"
[connections.directory.credentials]
client_id = "env:TOPSTITCH_TEST_ID"
client_secret = "file:secret"

[connections.email]
connector = "email@1"
smtp_host = "localhost"

[hooks.workday]
connection = "directory"
scheme = "standard-webhooks"
secret = "file:secret"

[people]
manager_of = "directory"
group = "directory"
[people.groups]
it-ops = ["dana@corp.example"]

[notify]
connection = "email"

[rates]
"EUR/USD" = "1.08"
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOPSTITCH_TEST_ID", "the-id")
    (tmp_path / "secret").write_text("the-secret")
    return tmp_path / "connections.toml"


def test_a_good_file_says_everything(path: Path) -> None:
    path.write_text(GOOD)
    loaded = load_connections(path)
    directory = loaded.connections["directory"]
    assert (directory.connector, directory.base_url, directory.timeout_seconds) == (
        "entra-id@1",
        "https://graph.example",
        20,
    )
    assert directory.rate is not None
    assert (directory.rate.per_second, directory.rate.burst, directory.concurrency) == (10, 3, 8)
    assert directory.options == {"tenant": "acme"}
    assert directory.credentials == {"client_id": "env:TOPSTITCH_TEST_ID", "client_secret": "file:secret"}
    assert loaded.hooks["workday"].connection == "directory"
    assert (loaded.people.manager_of, loaded.people.person) == ("directory", "directory")
    assert loaded.people.groups == {"it-ops": ("dana@corp.example",)}
    assert loaded.notify == "email"
    assert loaded.rates == {"EUR/USD": "1.08"}
    assert "the-secret" not in repr(loaded)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('timeout = "20s"', 'timeout = "soon"', 4, "timeout"),
        ('timeout = "20s"', "timeout = 20", 4, "timeout"),
        ('rate = "10/s"', 'rate = "many"', 5, '"10/s"'),
        ("concurrency = 8", "concurrency = 0", 7, "concurrency"),
        ('client_id = "env:TOPSTITCH_TEST_ID"', 'client_id = "canary-value"', 10, "reference"),
        ('client_id = "env:TOPSTITCH_TEST_ID"', 'client_id = "env:TOPSTITCH_UNSET"', 10, "TOPSTITCH_UNSET"),
        ('client_secret = "file:secret"', 'client_secret = "file:nowhere"', 11, "nowhere"),
        ('connector = "entra-id@1"\n', "", 1, "connector"),
        ("[connections.directory]", "[connections.Directory]", 1, "alias"),
        ('connection = "directory"', 'connection = "directry"', 18, "did you mean 'directory'"),
        ('scheme = "standard-webhooks"', 'scheme = "basic"', 17, "username"),
        ('scheme = "standard-webhooks"', 'scheme = "magic"', 19, "standard-webhooks"),
        ('manager_of = "directory"', 'manager_off = "directory"', 23, "did you mean 'manager_of'"),
        ("[rates]", "[rate]", 31, "did you mean 'rates'"),
        ('"EUR/USD" = "1.08"', '"EUR/USD" = "cheap"', 32, "EUR/USD"),
        ('it-ops = ["dana@corp.example"]', 'it-ops = "dana"', 26, "it-ops"),
    ],
)
def test_each_mistake_is_placed_and_named(path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(OperatorError) as caught:
        load_connections(path)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert said in caught.value.message
    assert "canary-value" not in caught.value.message


def test_broken_toml_is_placed(path: Path) -> None:
    path.write_text('[connections.directory]\nconnector = "entra-id@1\n')
    with pytest.raises(OperatorError, match=r"connections\.toml:2: "):
        load_connections(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="topstitch init"):
        load_connections(tmp_path / "connections.toml")


def test_references_may_be_left_unread(path: Path) -> None:
    path.write_text(GOOD.replace("TOPSTITCH_TEST_ID", "TOPSTITCH_UNSET"))
    assert "directory" in load_connections(path, check_credentials=False).connections
