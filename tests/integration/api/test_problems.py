"""Every error of every address is one problem document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from topstitch.api import problems

if TYPE_CHECKING:
    Api = Any
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "retryable"}


async def test_every_route_answers_a_wrong_method_and_a_wrong_body_with_a_problem(api: Api):
    walked = 0
    for route in api.app.routes:
        assert isinstance(route, Route)
        path = route.path.replace("{name}", "x").replace("{code}", "no-such-code")
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = await api.call(method, path, b"\xff not json", {"content-type": "application/json"})
            if answer.status < 400:
                continue
            walked += 1
            assert answer.headers["content-type"] == "application/problem+json", (method, path)
            document = answer.json()
            assert document.keys() >= MEMBERS
            assert document["status"] == answer.status
            assert document["instance"] == path
    assert walked >= 20


async def test_an_unknown_address_says_where_events_go(api: Api):
    answer = await api.call("GET", "/nothing/here")
    assert (answer.status, answer.json()["code"]) == (404, "not-found")
    assert "/api/v1/events" in answer.json()["detail"]


async def test_a_wrong_method_keeps_the_allow_header(api: Api):
    answer = await api.call("GET", "/api/v1/events")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_the_type_of_every_problem_has_a_page(api: Api):
    for code in problems.TITLES:
        page = await api.call("GET", f"{problems.PAGES}/{code}")
        assert page.status == 200
        assert code in page.body.decode()


async def test_an_unexpected_error_has_an_id_and_no_traceback(api: Api):
    async def broken() -> Any:
        raise RuntimeError("a defect with a secret in it")

    object.__setattr__(api.house.intake, "plans", broken)
    data = dict.fromkeys(("employee_id", "first_name", "last_name", "department", "location", "manager_id"), "x")
    data |= {"cost_center": "x", "job_profile": "x", "initiated_by": "x", "start_date": "2026-02-01"}
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "workday.hire_completed", "data": data}
    answer = await api.event(event)
    document = answer.json()
    assert (answer.status, document["code"], document["retryable"]) == (500, "unexpected", True)
    assert document["id"].startswith("err_")
    assert "secret" not in answer.body.decode()


async def test_health(api: Api):
    answer = await api.call("GET", "/healthz")
    assert (answer.status, answer.json()["ok"]) == (200, True)
