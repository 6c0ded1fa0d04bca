"""What the stages do, one module per verb, each with `run(context)`."""
