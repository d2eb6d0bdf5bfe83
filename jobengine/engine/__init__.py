"""The engine that keeps the jobs, and its door."""
