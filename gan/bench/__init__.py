"""Speed of training, beside a straightforward implementation."""
