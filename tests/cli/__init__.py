"""Tests of scaler.cli."""
