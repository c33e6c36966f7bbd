"""The benchmarks: ``python -m benchmarks``. See docs/benchmarks.md."""
