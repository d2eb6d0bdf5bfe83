"""How far many daemons on one PostgreSQL go: measures what their work costs, and simulates large machines with that."""
