"""
How well many daemons scale on one PostgreSQL: measures the cost of their work; simulates large machines from that
cost.
"""
