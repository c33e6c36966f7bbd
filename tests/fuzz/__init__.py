"""Nonsense from peers: ``python -m tests.fuzz`` tells states whatever can be said, in any order."""
