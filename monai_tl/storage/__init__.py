"""Files, tables, locks, and processes that run in parallel."""
