"""The nouns, and the moves each may make.

Plain frozen values: contracts of systems, events, records, calls and their outcomes,
statuses. They hold no behaviour beyond what follows from their own fields, and every room
may import them.
"""
