"""How changes wake waiters, on this server and on others."""
