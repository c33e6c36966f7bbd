"""Clusters on this machine: several daemons as children of one process."""
