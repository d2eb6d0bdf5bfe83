"""Benchmarks: JobEngine compared with others, with the same work on the same machine; see docs/performance.md."""
