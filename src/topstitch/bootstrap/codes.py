"""Wires the one-time codes of an installation: who sends them, and up to which tier they are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topstitch.bootstrap.entrance import speakers_of
from topstitch.connectors.notices import send_plain
from topstitch.foundation.errors import OperatorError
from topstitch.model.orders import Result
from topstitch.office.codes import Codes
from topstitch.office.desk import Desk

if TYPE_CHECKING:
    from topstitch.bootstrap.installation import Installation


def codes_of(house: Installation) -> Codes | None:
    """Return the codes, or nothing when the settings take none or no connection could send one."""
    registry = house.ports.connectors
    if house.settings.code_tier_max == 0 or registry.connections.notify is None:
        return None

    async def send(to: str, subject: str, text: str, key: str) -> None:
        outcome = await send_plain(registry, to, subject, text, key)
        if outcome.result is not Result.OK:
            raise OperatorError(
                "code-unsent", "the mail with the code could not be sent; try again in a moment, or sign in"
            )

    desk = Desk(house.ports.store, house.plans.load, house.clock)
    return Codes(desk, send, speakers_of(house), house.settings.code_tier_max)
