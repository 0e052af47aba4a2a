"""The simulated Workday: workers, the report, SOAP, and hires that notify the outside."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest
from aiohttp import web

from topstitch.simulators.host import Simulators

STAFFING = "/ccx/api/staffing/v6/acme"
REPORT = "/ccx/service/customreport2/acme/ISU_Topstitch/Job_Profile_Provisioning"


class Hook:
    """Takes notifications as the product would; may refuse the first ones."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.refuse = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        self.refuse -= 1
        return web.Response(status=503 if self.refuse >= 0 else 202)

    @property
    def ids(self) -> list[str]:
        return [orjson.loads(body)["id"] for _, body in self.got]


@pytest.fixture
async def hook(workday: Any) -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/hooks/workday", hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/workday"
    await workday("PATCH", "/_sim/settings", {"hook_url": hook.url})
    yield hook
    await runner.cleanup()


async def settled(world: Any) -> None:
    await world.sims["workday"].hires.sender.settled()


async def profile(workday: Any, id_: str) -> dict[str, str]:
    rows = (await workday("GET", f"{REPORT}?format=json&Job_Profile!Job_Profile_ID={id_}")).body["Report_Entry"]
    assert len(rows) == 1
    return dict(rows[0])


async def test_a_wrong_secret_and_an_expired_token_are_refused(world: Any, workday: Any) -> None:
    form = {"grant_type": "client_credentials", "client_id": "workday-sim-client", "client_secret": "guess"}
    async with world.session.post(f"{workday.url}/ccx/oauth2/acme/token", data=form) as answer:
        assert (answer.status, (await answer.json())["error"]) == (401, "invalid_client")
    world.clock.advance(3600)
    reply = await workday("GET", f"{STAFFING}/workers")
    assert (reply.status, reply.body["error"]) == (401, "invalid_token")


async def test_workers_are_found_paged_and_searched(workday: Any) -> None:
    worker = (await workday("GET", f"{STAFFING}/workers/W-100050")).body
    assert (worker["descriptor"], worker["active"]) == ("Nils Berg", True)
    assert worker["primaryJob"]["manager"]["workerId"] == "W-100011"
    assert (await workday("GET", f"{STAFFING}/workers/{worker['id']}")).body["workerId"] == "W-100050"
    page = (await workday("GET", f"{STAFFING}/workers?limit=5&offset=15")).body
    assert (page["total"], len(page["data"])) == (16, 1)
    assert (await workday("GET", f"{STAFFING}/workers?search=novak")).body["data"][0]["workerId"] == "W-100031"
    assert (await workday("GET", f"{STAFFING}/workers?limit=101")).body["code"] == "A371"
    missing = await workday("GET", f"{STAFFING}/workers/W-999999")
    assert (missing.status, set(missing.body)) == (404, {"error", "errors", "code"})


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        ("ENG-SWE", {"Active": "1", "Elevated_Access": "0", "Equipment_Tier": "standard", "Quota_Carrying": "0"}),
        ("SEC-ADMIN", {"Elevated_Access": "1"}),
        ("SAL-AE", {"Quota_Carrying": "1", "Quota": "1200000", "Quota_Currency": "USD", "Territory": "EMEA-Central"}),
        ("SAL-SDR", {"Quota_Carrying": "0", "Quota": "", "CRM_Role": "Sales Development Rep"}),
        ("DES-PROD", {"Equipment_Tier": "design"}),
        ("ENG-WEBMASTER", {"Active": "0"}),
    ],
)
async def test_the_report_has_the_profiles_of_the_story(workday: Any, id_: str, expected: dict[str, str]) -> None:
    row = await profile(workday, id_)
    assert expected.items() <= row.items()


async def test_the_report_takes_basic_credentials_and_gives_csv(world: Any, workday: Any) -> None:
    login = base64.b64encode(b"ISU_Topstitch:workday-sim-password").decode()
    reply = await workday("GET", f"{REPORT}?format=csv", headers={"Authorization": f"Basic {login}"})
    assert reply.text.splitlines()[0].startswith("Job_Profile_ID,")
    assert (await workday("GET", REPORT.replace("ISU_Topstitch", "someone"))).status == 404


async def test_a_hire_makes_a_worker_and_a_signed_notification(world: Any, workday: Any, hook: Hook) -> None:
    made = (await workday("POST", "/_sim/hires", {"first": "Priya", "last": "Raman", "jobProfile": "SAL-AE"})).body
    await settled(world)
    headers, body = hook.got[0]
    document = orjson.loads(body)
    assert document == made
    assert (document["eventType"], document["worker"]["managerId"]) == ("staffing.hire.completed", "W-100041")
    assert document["businessProcess"]["initiatedBy"]["workerId"] == "W-100031"
    secret = base64.b64decode(world.sims.facts()["workday"]["webhook_secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (
        document["id"],
        str(int(world.clock.now().timestamp())),
    )
    assert headers["Authorization"].startswith("Basic ")
    assert (await workday("GET", f"{STAFFING}/workers/{document['worker']['workerId']}")).status == 200


async def test_edge_1_a_future_hire_is_not_active_until_the_start_date(world: Any, workday: Any) -> None:
    made = (await workday("POST", "/_sim/hires", {"startDate": "2026-03-16"})).body["worker"]["workerId"]
    assert (await workday("GET", f"{STAFFING}/workers/{made}")).body["active"] is False
    world.clock.advance(14 * 86400)
    workday.headers["Authorization"] = f"Bearer {await world.token('workday')}"
    assert (await workday("GET", f"{STAFFING}/workers/{made}")).body["active"] is True


async def test_edge_1_a_start_date_moves_and_a_hire_is_rescinded(world: Any, workday: Any, hook: Hook) -> None:
    made = (await workday("POST", "/_sim/hires", {"startDate": "2026-03-01"})).body["worker"]["workerId"]
    await workday("POST", f"/_sim/hires/{made}/start_date", {"date": "2026-04-01"})
    worker = (await workday("GET", f"{STAFFING}/workers/{made}")).body
    assert (worker["hireDate"], worker["active"]) == ("2026-04-01", False)
    await workday("POST", f"/_sim/hires/{made}/start_date", {"date": "2026-03-01"})
    await workday("POST", f"/_sim/hires/{made}/rescind")
    assert (await workday("GET", f"{STAFFING}/workers/{made}")).body["active"] is False
    await settled(world)
    kinds = Counter(orjson.loads(body)["eventType"] for _, body in hook.got)
    assert kinds == {"staffing.hire.completed": 1, "staffing.hire.startDateChanged": 2, "staffing.hire.rescinded": 1}
    assert (await workday("POST", "/_sim/hires/W-0/rescind")).status == 404


async def test_edge_2_somebody_with_the_same_name_and_somebody_hired_again(workday: Any) -> None:
    same = (await workday("POST", "/_sim/hires", {"first": "Nils", "last": "Berg"})).body["worker"]
    assert same["workerId"] != "W-100050"
    again = (await workday("POST", "/_sim/hires", {"workerId": "W-100050", "first": "Nils", "last": "Berg"})).body[
        "worker"
    ]
    assert again["workerId"] == "W-100050"
    assert len((await workday("GET", f"{STAFFING}/workers?search=nils berg")).body["data"]) == 2


async def test_edge_3_and_4_fields_may_be_null_or_missing(world: Any, workday: Any, hook: Hook) -> None:
    await workday("POST", "/_sim/hires", {"managerId": None, "department": "", "omit": ["costCenter"]})
    await settled(world)
    worker = orjson.loads(hook.got[0][1])["worker"]
    assert (worker["managerId"], worker["department"], "costCenter" in worker) == (None, "", False)


async def test_edge_4_a_manager_may_be_missing_on_leave_the_requester_or_gone(workday: Any) -> None:
    for change in ({"on_leave": True}, {"terminated_on": "2026-03-01"}):
        await workday("POST", "/_sim/records/workers/W-100011", change)
    manager = (await workday("GET", f"{STAFFING}/workers/W-100011")).body
    assert (manager["onLeave"], manager["active"]) == (True, False)
    made = (await workday("POST", "/_sim/hires", {"managerId": "W-100031"})).body
    assert made["worker"]["managerId"] == made["businessProcess"]["initiatedBy"]["workerId"]
    orphan = (await workday("POST", "/_sim/hires", {"managerId": "W-000000"})).body["worker"]["workerId"]
    assert (await workday("GET", f"{STAFFING}/workers/{orphan}")).body["primaryJob"]["manager"] is None


async def test_a_notification_is_retried_until_it_is_acknowledged(world: Any, workday: Any, hook: Hook) -> None:
    hook.refuse = 2
    await workday("POST", "/_sim/hires", {})
    for _ in range(2):
        world.clock.advance_to(await world.somebody_sleeps())
    await settled(world)
    assert len(hook.got) == 3
    assert len(set(hook.ids)) == 1
    (notification,) = (await workday("GET", "/_sim/notifications")).body
    assert (notification["state"], [one["status"] for one in notification["tries"]]) == ("delivered", [503, 503, 202])


async def test_a_notification_outlives_the_process(tmp_path: Path, world: Any, hook: Hook) -> None:
    settings = {"workday": {"hook_url": hook.url}}
    async with Simulators(
        systems=("workday",), data=tmp_path / "sims.db", clock=world.clock, settings=settings
    ) as sims:
        hook.refuse = 1
        made = sims["workday"].hires.hire({})
        await world.somebody_sleeps()
    async with Simulators(systems=("workday",), data=tmp_path / "sims.db", clock=world.clock) as sims:
        await sims["workday"].hires.sender.settled()
    assert hook.ids == [made["id"]] * 2


async def test_edge_7_duplicate_webhook(world: Any, workday: Any, hook: Hook) -> None:
    await workday.fault("duplicate_webhook", copies=4, times=1)
    first = (await workday("POST", "/_sim/hires", {})).body["id"]
    second = (await workday("POST", "/_sim/hires", {})).body["id"]
    await settled(world)
    assert Counter(hook.ids) == {first: 5, second: 1}
    assert (await workday("POST", f"/_sim/notifications/{second}/again")).status == 202
    await settled(world)
    assert Counter(hook.ids)[second] == 2


async def test_edge_7_reordered_webhooks(world: Any, workday: Any, hook: Hook) -> None:
    simulator = world.sims["workday"]
    made = [document["id"] for document in simulator.hires.storm(3, reverse=True)]
    await settled(world)
    assert [one["id"] for one in simulator.hires.sender.all()] == made[::-1]
    assert sorted(hook.ids) == sorted(made)


async def test_edge_7_a_storm_of_a_thousand(world: Any, workday: Any, hook: Hook) -> None:
    reply = await workday("POST", "/_sim/hires", {"count": 1000, "overrides": {"jobProfile": "ENG-DATA"}})
    assert reply.body["hired"] == 1000
    await settled(world)
    assert (len(hook.got), len(set(hook.ids))) == (1000, 1000)
    refused = await workday("POST", "/_sim/hires", {"count": 100_000})
    assert (refused.status, "5000" in refused.body["error"]) == (400, True)


def envelope(inner: str, password: str = "workday-sim-password") -> str:
    wsse = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
    token = f"<w:Username>ISU_Topstitch@acme</w:Username><w:Password>{password}</w:Password>"
    header = f'<w:Security xmlns:w="{wsse}"><w:UsernameToken>{token}</w:UsernameToken></w:Security>'
    body = f'<b:Get_Workers_Request xmlns:b="urn:com.workday/bsvc">{inner}</b:Get_Workers_Request>'
    soap = "http://schemas.xmlsoap.org/soap/envelope/"
    return f'<s:Envelope xmlns:s="{soap}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'


async def soap(world: Any, workday: Any, text: str) -> tuple[int, ET.Element]:
    where = f"{workday.url}/ccx/service/acme/Human_Resources/v43.0"
    async with world.session.post(where, data=text, headers={"Content-Type": "text/xml"}) as answer:
        return answer.status, ET.fromstring(await answer.text())  # noqa: S314 (the simulator made it)


async def test_soap_get_workers_pages_and_refers(world: Any, workday: Any) -> None:
    names = {"wd": "urn:com.workday/bsvc"}
    paging = "<b:Response_Filter><b:Page>2</b:Page><b:Count>10</b:Count></b:Response_Filter>"
    status, tree = await soap(world, workday, envelope(paging))
    assert (status, len(tree.findall(".//wd:Worker", names)), tree.findtext(".//wd:Total_Pages", None, names)) == (
        200,
        6,
        "2",
    )
    one = (
        '<b:Request_References><b:Worker_Reference><b:ID b:type="Employee_ID">{}</b:ID>'
        "</b:Worker_Reference></b:Request_References>"
    )
    _, tree = await soap(world, workday, envelope(one.format("W-100050")))
    assert tree.findtext(".//wd:Last_Name", None, names) == "Berg"
    status, tree = await soap(world, workday, envelope(one.format("W-0")))
    assert (status, "Validation_Fault" in ET.tostring(tree, encoding="unicode")) == (500, True)


async def test_soap_refuses_bad_credentials_and_bad_xml_with_a_fault(world: Any, workday: Any) -> None:
    for text, code in ((envelope("", "guess"), "authenticationError"), ("<nonsense", "validationError")):
        status, tree = await soap(world, workday, text)
        assert (status, str(tree.findtext(".//faultcode")).endswith(code)) == (500, True)
