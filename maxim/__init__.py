"""MAXIM: multi-axis MLP for image processing (arXiv 2201.02973)."""
