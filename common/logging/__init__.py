"""What a run leaves behind for people: metrics, progress, traces, plots, a report."""
