"""The engine, which keeps the jobs, and its protocol for callers."""
