"""The second stage: builds what must be known before the first write, read only.

Pure like the other stages. Its calls are reads, and the handle they are carried out on has
no write methods (CX-02).
"""
