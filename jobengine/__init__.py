"""A durable queue of jobs over HTTP, kept in one encrypted file."""
