"""
The libraries that are measured as their users use them, one module each, in one shape; play.py runs both ends.

`adding(port)` is a context in which jobs can be added: it gives a function that adds so many. `work(port, count)` works
off jobs, calls `count` for each, and returns soon after it was true; it need not return if it has no way to.
"""
