"""A definition carried out against the simulated systems while each is taken down, in each way (H-09).

Beside the house like ``simulators``: it may import everything below the doors, and nothing in the
house but ``cli`` imports it. Nothing here reaches a real system.
"""
