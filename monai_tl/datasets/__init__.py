"""Cases: found in folders of known layouts, listed and split."""
