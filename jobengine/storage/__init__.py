"""The encrypted file and how it is written; independent of jobs."""
