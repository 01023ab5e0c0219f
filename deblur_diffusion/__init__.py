"""Deblurring by predict-and-refine diffusion (arXiv 2112.02475)."""
