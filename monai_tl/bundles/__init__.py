"""Task bundles: rendered from their ``task.yaml`` and one recipe, made from a datalist, and checked."""
