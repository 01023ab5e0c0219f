"""Multi-axis building blocks: partitions, window attention, depthwise convolution."""
