"""Benchmarks: JobEngine beside others, with the same work on the same machine; see docs/performance.md."""
