"""Decides when a heavy module is imported whose name a file needs: at the first use of something in it.

A file whose classes are read for their contracts long before one is made writes, so that types see the module::

    if TYPE_CHECKING:
        import aiohttp
    else:
        aiohttp = Later("aiohttp")

What was used once is kept here, so that each further use costs what it costs on the module itself.
"""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Stands for a module until something of it is used."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        """Import the module and return what it has under a name; asked once for each."""
        if name.startswith("__"):  # what copies, prints or inspects this asks for these, and means this
            raise AttributeError(name)
        value = getattr(importlib.import_module(self._module), name)
        setattr(self, name, value)
        return value
