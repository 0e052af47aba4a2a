"""Words without business meaning: time, ids, canonical bytes, money, durations, errors.

Every other room stands on this one; it imports none of them. "Now", ids and chance are
born here and nowhere else, so that the whole house can be run on a simulated clock and
from one seed.
"""
