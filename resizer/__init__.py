"""A small network in place of the bilinear resize (arXiv 2103.09950)."""
