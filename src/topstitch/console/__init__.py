"""The console: every instance, server-rendered, for the five people who use it.

``console_app(Hands(...))`` is the door that ``bootstrap`` mounts; ``app`` lists the pages. One
file per page reads what it shows and renders a template; ``lanes`` and ``timeline`` draw SVG
on the server. A GET changes nothing; every change is a POST that passes the same rules as the
command line. Nothing here speaks to a business system.
"""

from topstitch.console.app import console_app
from topstitch.console.hands import Hands
from topstitch.console.people import Person

__all__ = ["Hands", "Person", "console_app"]
