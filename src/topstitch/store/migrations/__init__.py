"""The migrations: numbered, linear, each applied with its mark in one transaction (``store.schema``)."""
