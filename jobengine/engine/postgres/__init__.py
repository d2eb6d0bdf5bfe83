"""The engine on PostgreSQL; see docs/postgresql.md. Imported only if DATABASE_URL is set."""
