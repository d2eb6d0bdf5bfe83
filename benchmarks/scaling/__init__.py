"""Daemons on PostgreSQL past one machine: what their work costs, and what a simulation makes of it."""
