"""Who may agree to, and who may take back, what waits for a second person: a definition, a policy, a calendar."""

from __future__ import annotations

from topstitch.foundation.errors import NotAllowedError
from topstitch.governance.access import Identity, require


def require_second(by: Identity, author: str, right: str, place: str | None = None, *, wrote: str) -> None:
    """Raise unless somebody may agree: they have ``right``, and are not the author, who ``wrote`` it."""
    require(by, right, place)
    if by.actor == author:
        message = f"you {wrote}, so somebody else has to agree; ask another publisher"
        raise NotAllowedError("author-agrees", message)


def require_author_or(by: Identity, author: str, right: str, place: str | None = None) -> None:
    """Raise unless somebody may take a proposal back: its author, or whoever has ``right``."""
    if by.actor != author:
        require(by, right, place)
