"""Stage 1: one business event in, at most one instance of each definition out.

``signatures`` proves who sent it, ``accept`` reads, checks and keeps it, ``match`` finds what
it starts. The api and the cli call ``accept``; nothing here carries an instance on.
"""
