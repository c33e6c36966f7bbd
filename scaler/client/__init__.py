"""The Python client: what users call."""
