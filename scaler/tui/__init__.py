"""The terminal monitor: screens that read ``scaler.monitor.model``."""
