"""The book: seals, proves, verifies and exports what the journal holds, and erases persons from it.

``sequencer`` orders the records and signs checkpoints; ``anchors`` puts these where this
installation cannot reach; ``verify`` finds what was changed; ``prove`` makes evidence for
outsiders and ``check_bundle`` checks it on their machine; ``erase`` forgets a person. The
room holds no SQL: it is handed the store's ledger, and most of it is pure.
"""
