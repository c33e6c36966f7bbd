"""Real processes, and what may befall them: ``python -m tests.chaos``."""
