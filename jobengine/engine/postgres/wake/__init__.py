"""Wakes waiters after changes, on this server and on others."""
