"""What a run leaves behind for machines: resumable state and release weights."""
