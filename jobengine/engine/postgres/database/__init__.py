"""Connections, statements in pipelines, rows and their encryption, the schema."""
