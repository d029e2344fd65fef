"""The question asked: does transfer help? Statistics over score files."""
