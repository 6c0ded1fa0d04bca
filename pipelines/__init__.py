"""The conductor: a graph of stages, a store of their results, a runner."""
