"""Servers that share a database: one leads, the others send it the commands of their clients."""
