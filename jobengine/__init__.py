"""A durable queue of jobs over HTTP, kept in one encrypted file."""

__version__ = "1.0.0"
