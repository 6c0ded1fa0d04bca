"""Finished pipelines of a runs folder: which there are, what each is made of, and how they differ."""
