"""
The libraries, as their users use them: one module each, with the same two functions. play.py runs them.

`adding(port)` is a context manager that yields a function: called from any thread, it adds a number of jobs.
`work(port, concurrency, count)` does up to `concurrency` jobs at a time, if the library can, and calls `count` after
each. It returns once `count` has returned true. A library that can't be stopped calls `count.to_the_end`, and goes on.
"""
