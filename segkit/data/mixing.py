"""The images of an epoch: real ones, synthetic ones, or both with a limit on the synthetic share."""

from segkit.core.errors import ConfigError
from segkit.data.sampling import Pool
from segkit.data.settings import TrainingDataSettings


def build_pools(
    settings: TrainingDataSettings, num_real: int, num_synthetic: int, synthetic_replaced: bool = False
) -> tuple[Pool, ...]:
    """Pools of image indices: 0 ... num_real - 1 are real, the following ones synthetic.

    Args:
        num_synthetic: available synthetic images; with `synthetic_replaced`, those of the student.
        synthetic_replaced: draw real images in place of synthetic ones, with the same epoch length.

    Raises:
        ConfigError: the phase needs images that are missing.
    """
    available = num_synthetic if settings.num_synthetic is None else settings.num_synthetic
    if settings.data != "real" and available == 0:
        raise ConfigError(f"data: {settings.data} needs synthetic images, and none were given; use data: real")
    if settings.data != "real" and available > num_synthetic:
        # With fewer images the student would silently train for fewer steps than its control.
        raise ConfigError(f"num_synthetic: expected {available} synthetic images, {num_synthetic} were given")
    if (settings.data != "synthetic" or synthetic_replaced) and num_real == 0:
        raise ConfigError(f"data: {settings.data} needs real training images, and there are none")
    real = num_real if settings.data != "synthetic" else 0
    synthetic = _synthetic_per_epoch(settings, num_real, available)
    if settings.crops_per_image is not None:
        real, synthetic = real * settings.crops_per_image, synthetic * settings.crops_per_image
    if settings.images_per_epoch is not None:
        total = real + synthetic
        synthetic = settings.images_per_epoch * synthetic // total
        real = settings.images_per_epoch - synthetic
    if settings.data == "mixed" and synthetic == 0:
        raise ConfigError(
            f"synthetic_share: {settings.synthetic_share} of {real} real images is less than one synthetic image; "
            "raise it, or use data: real"
        )
    real_indices = tuple(range(num_real))
    if synthetic_replaced:
        return (Pool(real_indices, real + synthetic),)
    pools = Pool(real_indices, real), Pool(tuple(range(num_real, num_real + available)), synthetic)
    return tuple(pool for pool in pools if pool.per_epoch)


def _synthetic_per_epoch(settings: TrainingDataSettings, num_real: int, available: int) -> int:
    if settings.data == "real":
        return 0
    if settings.data == "synthetic":
        return available
    maximum = int(num_real * settings.synthetic_share / (1 - settings.synthetic_share) + 1e-9)
    return min(available, maximum)
