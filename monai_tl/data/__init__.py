"""What a case is: phantoms, datalists of known layouts, checks."""
