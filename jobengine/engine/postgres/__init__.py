"""The engine on PostgreSQL; see docs/cluster.md. Imported only if DATABASE_URL is set."""
