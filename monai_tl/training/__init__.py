"""How it learns: device policy, windows, handlers, run folders."""
