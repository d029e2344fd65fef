"""Which scans and persons: fingerprints, pseudonyms and the cases behind trained weights."""
