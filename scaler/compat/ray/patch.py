"""Importing this makes ``import ray`` mean ``scaler.compat.ray``, here and in tasks."""

from scaler.compat.ray import install

install()
