"""`segkit gan sample`: the images of seeds."""

from segkit.cli.parts import gan_sample as sample

__all__ = ["sample"]
