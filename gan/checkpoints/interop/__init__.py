"""Reading networks of other programs."""
