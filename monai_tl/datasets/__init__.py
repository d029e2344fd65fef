"""Finding cases in folders of known layouts, listing and splitting them."""
