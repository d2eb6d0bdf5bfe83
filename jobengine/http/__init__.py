"""Bytes and connections: limits, requests, long answers, the access log. Knows nothing of jobs."""
