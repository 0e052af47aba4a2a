"""Every fault schedule of a definition, walked through the real core against simulated systems.

Beside the house like ``simulators``: it may import everything below the doors, and nothing in
the house but ``cli`` imports it. ``explore`` walks all schedules with at most N faults,
``replay`` walks one again and tells it. Nothing here is used while real work is carried out.
"""
