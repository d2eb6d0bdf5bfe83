"""
How well many daemons scale on one PostgreSQL: measures the cost of their work, and simulates large machines with
it.
"""
