"""The engine on a file: tables in memory, and a journal."""
