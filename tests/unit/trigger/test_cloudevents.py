"""How CloudEvents are read, and how what is wrong with one is named."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from topstitch.foundation.errors import RequestError
from topstitch.trigger import cloudevents

GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/hr",
    "type": "workday.hire_completed",
    "data": {"a": 1},
}
JSON = {"content-type": "application/cloudevents+json; charset=utf-8"}


def read(document: object, headers: dict[str, str] = JSON) -> cloudevents.CloudEvent:
    return cloudevents.read_one(headers, orjson.dumps(document))


def pointers(document: object, headers: dict[str, str] = JSON) -> list[str]:
    with pytest.raises(RequestError) as refused:
        read(document, headers)
    return [e["pointer"] for e in refused.value.detail["errors"]]


def test_structured():
    event = read({**GOOD, "time": "2026-01-05T10:00:00+01:00", "traceparent": "00-a-b-01"})
    assert (event.id, event.source, event.type, event.data) == ("1", "/hr", "workday.hire_completed", {"a": 1})
    assert event.time is not None
    assert event.time.isoformat() == "2026-01-05T09:00:00+00:00"
    assert event.trace == "00-a-b-01"


def test_binary():
    headers = {f"ce-{k}": v for k, v in GOOD.items() if k != "data"} | {
        "content-type": "application/json",
        "ce-source": "/hr%20a",
    }
    event = cloudevents.read_one(headers, b'{"a":1}')
    assert (event.source, event.data) == ("/hr a", {"a": 1})


def test_batch():
    assert cloudevents.is_batch({"content-type": "application/cloudevents-batch+json"})
    assert cloudevents.read_batch(orjson.dumps([GOOD])) == [GOOD]
    with pytest.raises(RequestError):
        cloudevents.read_batch(orjson.dumps([GOOD] * 1001))
    with pytest.raises(RequestError):
        cloudevents.read_batch(b"{}")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"id": None}, ["/id"]),
        ({"id": ""}, ["/id"]),
        ({"id": 5}, ["/id"]),
        ({"id": "x" * 1025}, ["/id"]),
        ({"source": None, "type": None}, ["/source", "/type"]),
        ({"specversion": "0.3"}, ["/specversion"]),
        ({"data": [1]}, ["/data"]),
        ({"data": None}, ["/data"]),
        ({"time": "yesterday"}, ["/time"]),
        ({"time": 5}, ["/time"]),
    ],
)
def test_every_wrong_attribute_is_named(change: dict[str, Any], named: list[str]):
    assert pointers({**GOOD, **change}) == named


def test_what_is_no_object_or_no_json_is_refused():
    assert pointers([GOOD]) == [""]
    assert pointers("text") == [""]
    with pytest.raises(RequestError) as refused:
        cloudevents.read_one(JSON, b"{")
    assert refused.value.code == "json-invalid"
    with pytest.raises(RequestError) as refused:
        cloudevents.read_one({"content-type": "text/xml"}, b"<a/>")
    assert refused.value.code == "media-type"


@given(st.binary(max_size=200))
def test_whatever_bytes_come_the_answer_is_an_event_or_a_refusal(body: bytes):
    problem = None
    try:
        cloudevents.read_one(JSON, body)
    except RequestError as refused:
        problem = refused
    assert problem is None or problem.detail["errors"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["specversion", "id", "source", "type", "data", "time"]), JSON_VALUES))
def test_whatever_json_comes_the_answer_is_an_event_or_a_refusal(document: dict[str, Any]):
    event = problem = None
    try:
        event = cloudevents.event_of(document)
    except RequestError as refused:
        problem = refused
    assert (event is None) is not (problem is None)
    assert event is None or (event.id and event.source)
    assert problem is None or problem.message.endswith("send the event again")
