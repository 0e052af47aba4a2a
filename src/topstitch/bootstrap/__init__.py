"""Wires everything once: ``installation`` the whole, ``database`` the store alone, for commands that need no more."""
