"""The ``http`` connector: a YAML file says what a system can do, and no Python is needed.

``document`` is the file's shape, ``positions`` knows where each word of it stands,
``compile`` turns an action into closures once, ``connector`` carries a call out.
"""
