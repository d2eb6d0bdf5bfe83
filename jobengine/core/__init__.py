"""The rules and the state of queues and jobs: pure, without clock, randomness or files."""
