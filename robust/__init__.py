"""Exponentiated-gradient example reweighting: noisy labels, noisy PCA, noise audits."""
