"""The web dashboard: what the monitor feed tells, in a browser."""
