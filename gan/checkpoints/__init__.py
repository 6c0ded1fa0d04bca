"""Weights on disk: our folders, official snapshots, and adapting them to other images."""
