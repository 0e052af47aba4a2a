"""The hand to business systems: contracts, limits, credentials and one folder per system.

``contract`` is what an adapter says of itself, ``http`` how it talks, ``registry`` how the
rest of the house reaches it: by alias, through handles that either only read or demand a
grant for every write. It knows no process object, no plan, no policy and no order of steps.
"""
