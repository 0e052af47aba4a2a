"""The fourth stage: compares what should be true with what every system really holds.

It reads the systems again at the declared times, whatever the steps said; a difference that
outlives its settle time becomes one exception ticket for each instance and system. It never
repairs anything by itself.
"""
