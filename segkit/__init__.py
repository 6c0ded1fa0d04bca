"""segkit: vessel segmentation from twenty labelled fundus photographs, with and without synthetic images."""

__version__ = "0.1.0"
