"""Scores of single cases, and runs compared by them."""
