"""Every setting: its type, its range, and how text becomes a value."""
