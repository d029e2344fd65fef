"""Files, tables, processes: whatever is written to disk or run beside."""
