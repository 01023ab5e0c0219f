"""Training restoration networks well: projected distribution loss, satellite images."""
