"""Shared networks and the tools to build them."""
