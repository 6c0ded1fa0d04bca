"""Results of a pipeline: measurements of `evaluate`, final numbers under flat keys, and the pipeline's W&B run."""
