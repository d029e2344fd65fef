"""The identity of scans and persons: fingerprints, pseudonyms and the cases that weights were trained on."""
