"""Tests of scaler.manager."""
