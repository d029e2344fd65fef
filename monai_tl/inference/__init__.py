"""What it says: predictions on the case's own grid, and scores."""
