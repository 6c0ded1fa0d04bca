"""Transfer of small tensors to the images' device without waiting."""

from jaxtyping import Shaped
from torch import Tensor


def to_device_of(images: Tensor, numbers: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Copy a CPU tensor to the images' device; floating-point values take the images' type.

    A blocking copy would wait until the device has finished all earlier work.
    """
    if numbers.is_floating_point():
        numbers = numbers.to(images.dtype)
    return numbers.to(images.device, non_blocking=True)
