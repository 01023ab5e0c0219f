"""MaxViT: multi-axis vision transformer (arXiv 2204.01697)."""
