"""The SOAP side of the simulated Workday: Human_Resources, operation Get_Workers.

WS-Security user name token, paging, references by Employee_ID or WID, faults as the vendor
words them (a fault comes with HTTP 500, which is no server failure). ``workday`` calls it.
"""

from __future__ import annotations

import math
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from topstitch.simulators.simulator import Simulator
from topstitch.simulators.state import Json
from topstitch.simulators.wire import Answer, Call
from topstitch.simulators.workday_workers import Workers

WD: Final = "urn:com.workday/bsvc"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
BODY_MAX: Final = 1_000_000


class Soap:
    """Answers SOAP calls of one tenant."""

    def __init__(self, simulator: Simulator, workers: Workers) -> None:
        self._simulator = simulator
        self._workers = workers

    def answer(self, call: Call) -> Answer:
        """Answer one envelope."""
        if len(call.body) > BODY_MAX or b"<!DOCTYPE" in call.body:
            return _fault("SOAP-ENV:Client.validationError", "Invalid request")
        try:
            envelope = ET.fromstring(call.body)  # noqa: S314 (no document type, bounded, loopback)
        except ET.ParseError:
            return _fault("SOAP-ENV:Client.validationError", "Element Content is not well-formed")
        if not self._is_known(envelope, call):
            return _fault("SOAP-ENV:Client.authenticationError", "invalid username or password")
        request = envelope.find(f"{{{SOAP}}}Body/{{{WD}}}Get_Workers_Request")
        if request is None:
            return _fault("SOAP-ENV:Client.validationError", "The operation is not supported by this simulator")
        return self._get_workers(request, call.params.get("version", "v43.0"))

    def _is_known(self, envelope: ET.Element, call: Call) -> bool:
        token = envelope.find(f"{{{SOAP}}}Header/{{{WSSE}}}Security/{{{WSSE}}}UsernameToken")
        if token is None:
            return False
        settings = self._simulator.settings
        user, password = token.findtext(f"{{{WSSE}}}Username"), token.findtext(f"{{{WSSE}}}Password")
        wanted = f"{settings['username']}@{settings['tenant']}"
        return (user, password, call.params["tenant"]) == (wanted, settings["password"], settings["tenant"])

    def _get_workers(self, request: ET.Element, version: str) -> Answer:
        references = request.findall(f"{{{WD}}}Request_References/{{{WD}}}Worker_Reference/{{{WD}}}ID")
        if references:
            found = [self._workers.by(reference.text or "") for reference in references]
            if None in found:
                bad = next(ref.text for ref, worker in zip(references, found, strict=True) if worker is None)
                return _validation_fault(
                    f"Validation error occurred. '{bad}' is not a valid ID value for type = 'Employee_ID'"
                )
            workers = [worker for worker in found if worker is not None]
        else:
            workers = self._workers.all()
        page = int(request.findtext(f"{{{WD}}}Response_Filter/{{{WD}}}Page") or 1)
        count = min(999, int(request.findtext(f"{{{WD}}}Response_Filter/{{{WD}}}Count") or 100))
        shown = "".join(self._worker(worker) for worker in workers[(page - 1) * count : page * count])
        results = (
            f"<wd:Response_Results><wd:Total_Results>{len(workers)}</wd:Total_Results>"
            f"<wd:Total_Pages>{max(1, math.ceil(len(workers) / count))}</wd:Total_Pages>"
            f"<wd:Page>{page}</wd:Page></wd:Response_Results>"
        )
        return _envelope(
            f'<wd:Get_Workers_Response xmlns:wd="{WD}" wd:version="{escape(version)}">{results}'
            f"<wd:Response_Data>{shown}</wd:Response_Data></wd:Get_Workers_Response>"
        )

    def _worker(self, worker: Json) -> str:
        active = "true" if self._workers.is_active(worker) else "false"
        return (
            f'<wd:Worker><wd:Worker_Reference><wd:ID wd:type="WID">{worker["id"]}</wd:ID>'
            f'<wd:ID wd:type="Employee_ID">{escape(worker["workerId"])}</wd:ID></wd:Worker_Reference>'
            f"<wd:Worker_Data><wd:Worker_ID>{escape(worker['workerId'])}</wd:Worker_ID><wd:Personal_Data><wd:Name_Data>"
            f"<wd:Legal_Name_Data><wd:Name_Detail_Data><wd:First_Name>{escape(worker['first'])}</wd:First_Name>"
            f"<wd:Last_Name>{escape(worker['last'])}</wd:Last_Name></wd:Name_Detail_Data></wd:Legal_Name_Data></wd:Name_Data>"
            f"</wd:Personal_Data><wd:Employment_Data><wd:Worker_Status_Data><wd:Active>{active}</wd:Active>"
            f"<wd:Hire_Date>{escape(worker['hire_date'])}</wd:Hire_Date></wd:Worker_Status_Data></wd:Employment_Data>"
            f"</wd:Worker_Data></wd:Worker>"
        )


def _envelope(body: str, status: int = 200) -> Answer:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP}">'
        f"<SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )
    return Answer(status, text, media="text/xml")


def _fault(code: str, text: str, detail: str = "") -> Answer:
    fault = f"<faultcode>{code}</faultcode><faultstring>{escape(text)}</faultstring>{detail}"
    return _envelope(f"<SOAP-ENV:Fault>{fault}</SOAP-ENV:Fault>", 500)


def _validation_fault(text: str) -> Answer:
    detail = (
        f'<detail><wd:Validation_Fault xmlns:wd="{WD}"><wd:Validation_Error><wd:Message>{escape(text)}</wd:Message>'
        "</wd:Validation_Error></wd:Validation_Fault></detail>"
    )
    return _fault("SOAP-ENV:Client.validationError", text, detail)
