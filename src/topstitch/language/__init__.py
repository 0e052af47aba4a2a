"""The definitions authors write: load, schema, expressions, checks, rendering.

A definition is closed data (``docs/decisions``): strict YAML with a place for every key and
value, a closed schema, and CEL expressions typed against connector contracts before
anything runs. This room reads text and returns values and findings; it never touches the
world.
"""
