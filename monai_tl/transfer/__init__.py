"""What is carried over: reading, planning, adapting, freezing and accounting for source weights."""
