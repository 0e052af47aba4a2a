"""Measures what the engine costs, beside a bare script that remembers nothing.

``topstitch bench`` calls ``run``. Everything is measured in one go on one machine, against a
stub in a process of its own that answers after a millisecond; what counts is the ratios.
"""
