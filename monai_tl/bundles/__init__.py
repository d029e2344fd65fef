"""Task bundles: the settings that suit their data."""
