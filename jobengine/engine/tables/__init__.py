"""The tables of all queues and jobs in memory."""
