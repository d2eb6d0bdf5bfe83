"""Bytes and connections: limits, requests, long answers, the access log. Independent of jobs."""
