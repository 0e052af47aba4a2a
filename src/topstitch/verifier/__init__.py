"""Proof, before launch, that every reachable failure of a definition has a declared end.

``verify`` is the door: level 1 by construction, level 2 by exploring every order of every
outcome, the pairs, the bound on time, the outcome table and what each failure would unwind.
Pure; it reads a plan and never the world, and it never carries anything out.
"""
