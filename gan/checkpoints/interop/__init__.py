"""Readers of networks saved by other programs."""
