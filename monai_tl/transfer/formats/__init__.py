"""Families of weights files: how each is recognised by its content, read, and what it says of its images and its network."""
