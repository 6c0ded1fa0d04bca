"""Results in a runs folder: their names and removal, measurements, final numbers, and the pipeline's W&B run."""
