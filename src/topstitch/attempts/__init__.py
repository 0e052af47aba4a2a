"""One write, carried out: tries, look-ups, read-backs, and nothing sent twice.

Every write of every stage goes through here: a step's own, its undo, a compensating action,
an exception ticket. The rules are those of ``language.md`` 6.2. Like the stages above it,
this room is pure: it returns records to append and calls to make.
"""
