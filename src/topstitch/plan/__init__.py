"""A definition compiled: steps, edges, seams, and everything a stage needs to decide.

The plan is made once per definition version and shared by all its instances. It is paper:
it holds compiled expressions and contracts, and touches nothing.
"""
