"""Score single cases, and compare runs by these scores."""
