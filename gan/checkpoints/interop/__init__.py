"""Reading networks that other programs wrote."""
