"""Who is at the door: passwords, sessions, tokens, sign-in at a provider, and the check in front of every address.

The doors hold an ``Access`` and ask it whose a request is. What an identity may do is decided in
``governance.access``; here is only how we come to know who it is, and how a door makes sure that
nothing is answered without a rule.
"""

from topstitch.access.guard import PROTECTED, Guard, needs, protect, rule_of
from topstitch.access.service import Access, SignedIn, WaitError

__all__ = ["PROTECTED", "Access", "Guard", "SignedIn", "WaitError", "needs", "protect", "rule_of"]
