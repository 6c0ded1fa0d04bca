"""Metrics of label maps and probabilities: counts, curves, topology, intervals and tables."""
