"""Metrics for Prometheus: the families that several daemons tell, and the server that tells them."""
