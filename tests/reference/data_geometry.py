"""Area resizing by definition: repeat every pixel until both sizes divide the picture, then average blocks."""

import numpy as np
import numpy.typing as npt


def area_resize(values: npt.NDArray[np.floating], height: int, width: int) -> npt.NDArray[np.float64]:
    """(h, w) averaged to (height, width)."""
    fine = np.repeat(np.repeat(values.astype(np.float64), height, axis=0), width, axis=1)
    return np.asarray(fine.reshape(height, values.shape[0], width, values.shape[1]).mean(axis=(1, 3)))
