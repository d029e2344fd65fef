"""The report of runs: one page that compares all runs below a folder."""
