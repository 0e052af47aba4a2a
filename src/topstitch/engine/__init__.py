"""Activation: claims due instances, appends what was decided, makes the calls, parks.

``port`` says what an engine is, what it is handed (``Core``, ``Ledger``) and what it may
rely on; ``activation`` is one turn on one instance; ``embedded`` is the engine of one
process. The room knows no stage, no connector and no SQL: ``bootstrap`` hands it all three.
"""
