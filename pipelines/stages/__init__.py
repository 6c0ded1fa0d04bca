"""What the stages do, one module per stage type, each with `run(context)`."""
