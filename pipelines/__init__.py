"""Pipelines: stages, recipes that combine them into graphs, the runner and worker, and the report."""
