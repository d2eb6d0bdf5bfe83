"""How fast is it? Measured against others with the same work on the same machine; see docs/performance.md."""
