"""The worker daemon: one service for each host, one executor process for each slot."""
