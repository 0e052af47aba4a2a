"""Topstitch carries one business event across every system it touches.

The package is a house: ``ARCHITECTURE.md`` has the floor plan and the walk of one event.
Read ``lifecycle.py`` first.
"""

__version__ = "0.1.0"
