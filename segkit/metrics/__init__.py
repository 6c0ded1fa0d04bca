"""How good a vessel map is: counts, curves, topology, intervals and tables."""
