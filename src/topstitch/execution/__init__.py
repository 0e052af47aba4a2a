"""The third stage: carries the steps out, asks people, rolls back and compensates.

Pure: ``decide`` looks at the plan and the folded state and returns records and calls;
``settle`` turns the answer to a call into a record. All rules of ``language.md`` 1.4 and 6.2
on steps live here; those on a single write live in ``attempts``.
"""
