"""Types of arrays that many modules share; the docstrings of functions give the shapes."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Levels of an image, or class indices of a label map."""
Bools = npt.NDArray[np.bool_]
"""A binary map, such as a field of view."""
Floats = npt.NDArray[np.float32]
"""Probabilities, weights or targets."""
