"""Image quality: what people prefer, learned from votes and scores."""
