"""Training speed, compared with a straightforward implementation."""
