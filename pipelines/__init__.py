"""The runner: stages, the graphs that recipes make of them, and how they are launched and carried out."""
