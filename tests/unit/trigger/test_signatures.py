"""What proves a sender, and what does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from topstitch.foundation.errors import NotAllowedError, OperatorError
from topstitch.trigger.signatures import verify

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
BODY = b'{"id":"1"}'


def signed(at: datetime = NOW, body: bytes = BODY, name: str = "msg_1") -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    mac = hmac.new(b"0123456789abcdef", f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": "v1," + base64.b64encode(mac).decode()}


def code(
    scheme: str, headers: dict[str, str], secret: str = SECRET, user: str | None = None, body: bytes = BODY
) -> str:
    with pytest.raises(NotAllowedError) as refused:
        verify(scheme, headers, body, NOW, secret, user)
    return refused.value.code


def test_a_standard_webhook_is_taken_also_among_several_signatures():
    headers = signed()
    assert verify("standard-webhooks", headers, BODY, NOW, SECRET) == "standard-webhooks"
    rotated = {**headers, "webhook-signature": "v1,AAAA " + headers["webhook-signature"] + " v2,xyz"}
    assert verify("standard-webhooks", rotated, BODY, NOW, SECRET) == "standard-webhooks"


@pytest.mark.parametrize("seconds", [-300, -299, 0, 300])
def test_five_minutes_either_way_are_allowed(seconds: int):
    assert verify("standard-webhooks", signed(NOW + timedelta(seconds=seconds)), BODY, NOW, SECRET)


@pytest.mark.parametrize("seconds", [-301, 301, 86400])
def test_more_than_five_minutes_are_not(seconds: int):
    assert code("standard-webhooks", signed(NOW + timedelta(seconds=seconds))) == "signature-old"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"webhook-signature": "v1,AAAA"}, "signature-wrong"),
        ({"webhook-signature": "v1,not base64!"}, "signature-wrong"),
        ({"webhook-signature": "v2,AAAA"}, "signature-wrong"),
        ({"webhook-id": "msg_2"}, "signature-wrong"),
        ({"webhook-signature": ""}, "signature-missing"),
        ({"webhook-timestamp": "soon"}, "signature-missing"),
        ({"webhook-timestamp": "9" * 40}, "signature-missing"),
        ({"webhook-id": ""}, "signature-missing"),
    ],
)
def test_anything_changed_is_refused(change: dict[str, str], expected: str):
    assert code("standard-webhooks", {**signed(), **change}) == expected


def test_another_body_or_secret_is_refused():
    assert code("standard-webhooks", signed(), body=BODY + b" ") == "signature-wrong"
    other = "whsec_" + base64.b64encode(b"another").decode()
    assert code("standard-webhooks", signed(), secret=other) == "signature-wrong"


def test_basic_credentials():
    good = {"authorization": "Basic " + base64.b64encode(b"workday:s3cret").decode()}
    assert verify("basic", good, BODY, NOW, "s3cret", "workday") == "basic"
    assert code("basic", good, secret="other", user="workday") == "credentials-wrong"
    assert code("basic", {"authorization": "Basic %%%"}, secret="", user="") == "credentials-wrong"
    assert code("basic", {"authorization": "Bearer s3cret"}, secret="s3cret", user="workday") == "credentials-wrong"
    assert code("basic", {}, secret="s3cret", user="workday") == "signature-missing"


@pytest.mark.parametrize("headers", [{"authorization": "Bearer t0ken"}, {"x-topstitch-token": "t0ken"}])
def test_a_shared_token(headers: dict[str, str]):
    assert verify("token", headers, BODY, NOW, "t0ken") == "token"
    assert code("token", headers, secret="other") == "credentials-wrong"
    assert code("token", {}, secret="other") == "signature-missing"


def test_a_timed_hmac():
    stamp = int(NOW.timestamp())
    mac = hmac.new(b"key", f"{stamp}.".encode() + BODY, hashlib.sha256).hexdigest()
    headers = {"x-signature": f"t={stamp},v1={mac}"}
    assert verify("hmac-sha256", headers, BODY, NOW, "key") == "hmac-sha256"
    assert code("hmac-sha256", headers, secret="other") == "signature-wrong"
    assert code("hmac-sha256", {"x-signature": f"t={stamp - 400},v1={mac}"}, secret="key") == "signature-old"
    assert code("hmac-sha256", {"x-signature": "nonsense"}, secret="key") == "signature-missing"


def test_a_scheme_or_secret_that_is_none_is_the_operators():
    with pytest.raises(OperatorError):
        verify("magic", signed(), BODY, NOW, SECRET)
    with pytest.raises(OperatorError):
        verify("standard-webhooks", signed(), BODY, NOW, "whsec_%%%")
