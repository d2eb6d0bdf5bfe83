"""
The libraries, measured as their users use them: one module each, all with the same two functions; play.py runs them.

`adding(port)` is a context manager: it gives a function that adds a number of jobs, from any thread.
`work(port, concurrency, count)` does up to `concurrency` jobs at a time, if the library can, and calls `count` for
each. It returns after `count` was true. A library that can't be told to stop calls `count.to_the_end`, and goes on.
"""
