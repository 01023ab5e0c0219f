"""Where arrays live: the device mesh and the rules that shard over it."""
