"""How waiters are woken by changes, those of other servers too."""
