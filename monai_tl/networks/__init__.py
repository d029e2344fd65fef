"""Networks and their stages."""
