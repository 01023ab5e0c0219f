"""Experiments of enhancement: losses of features, and satellite images."""
