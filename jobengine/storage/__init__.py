"""The encrypted file and how it is written; knows nothing of jobs."""
