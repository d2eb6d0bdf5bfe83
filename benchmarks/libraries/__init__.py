"""
The libraries that are measured as their users use them, one module each, in one shape; play.py runs both ends.

`adding(port)` is a context in which jobs can be added: it gives a function that adds so many, for any thread.
`work(port, concurrency, count)` works off so many jobs at one time, if it can, and calls `count` for each. It returns
when `count` was true, or, if the library can't be told to, goes on and calls `count.to_the_end`, which says so.
"""
