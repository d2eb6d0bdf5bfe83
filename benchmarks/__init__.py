"""Benchmarks: JobEngine compared with others, with the same work on the same machine; see benchmarks/lab-book.md."""
