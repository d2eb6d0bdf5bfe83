"""The engine on PostgreSQL; see docs/cluster.md. Nothing of it is imported unless DATABASE_URL is set."""
