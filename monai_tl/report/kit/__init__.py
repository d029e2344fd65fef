"""Figures, pages and file handling shared by all reports."""
