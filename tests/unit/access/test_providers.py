"""``sign-in.toml`` is read strictly, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from topstitch.access.providers import read_providers
from topstitch.foundation.errors import OperatorError
from topstitch.governance.access import Grant

GOOD = """
[providers.acme]
issuer = "https://login.acme.example"
client_id = "topstitch"
client_secret = "env:ACME"
[providers.acme.roles]
it-ops = ["operator:people-*", "viewer"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "sign-in.toml"
    path.write_text(text)
    return path


def test_no_file_is_no_provider(tmp_path: Path) -> None:
    assert read_providers(tmp_path / "sign-in.toml") == {}


def test_groups_give_roles(tmp_path: Path) -> None:
    provider = read_providers(write(tmp_path, GOOD))["acme"]
    assert provider.grants_of(("it-ops", "others")) == (Grant("operator", "people-*"), Grant("viewer"))


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("https://", "http://", "issuer must begin with https"),
        ('"env:ACME"', '"hunter2"', "reference"),
        ("operator:people-*", "king", "one of viewer"),
        ("client_id", "client", "unknown field `client`"),
        ("acme", "'a b'", "address"),
        ("issuer =", "issuer ", "cannot be used"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, wrong: str, right: str, said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        read_providers(write(tmp_path, GOOD.replace(wrong, right)))
