"""Plans a run for machines one does not have: memory, traffic, time."""
