"""Input: sources, decoding, transforms, batching and on-device mixing."""
