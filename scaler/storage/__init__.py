"""The object storage: its server and the way to use it."""
