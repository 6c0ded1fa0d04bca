"""What an epoch draws from: real images, synthetic ones, or both with the synthetic share capped."""

from segkit.core.errors import ConfigError
from segkit.data.sampling import Pool
from segkit.data.settings import TrainingDataSettings


def build_pools(
    settings: TrainingDataSettings, num_real: int, num_synthetic: int, synthetic_replaced: bool = False
) -> tuple[Pool, ...]:
    """Pools over real images 0 ... num_real - 1 followed by the synthetic ones.

    Args:
        settings: the phase's.
        num_real: real training images at hand.
        num_synthetic: synthetic images at hand; with `synthetic_replaced`, those that the student would have.
        synthetic_replaced: draw real images in place of synthetic ones, an epoch staying as long as it was.

    Raises:
        ConfigError: the phase wants images that are not there.
    """
    available = num_synthetic if settings.num_synthetic is None else settings.num_synthetic
    if settings.data != "real" and available == 0:
        raise ConfigError(f"data: {settings.data} needs synthetic images, and none were given; use data: real")
    if settings.data != "real" and available > num_synthetic:
        # Taking fewer would be silent, and the student would train for fewer steps than its control.
        raise ConfigError(f"num_synthetic: {available} synthetic images are wanted, and {num_synthetic} were given")
    if (settings.data != "synthetic" or synthetic_replaced) and num_real == 0:
        raise ConfigError(f"data: {settings.data} needs real training images, and there are none")
    real = num_real if settings.data != "synthetic" else 0
    synthetic = _synthetic_per_epoch(settings, num_real, available)
    if settings.images_per_epoch is not None:
        total = real + synthetic
        synthetic = settings.images_per_epoch * synthetic // total
        real = settings.images_per_epoch - synthetic
    if settings.data == "mixed" and synthetic == 0:
        raise ConfigError(
            f"synthetic_share: {settings.synthetic_share} of {real} real images leaves no room for a synthetic one; "
            "raise it, or use data: real"
        )
    reals = tuple(range(num_real))
    if synthetic_replaced:
        return (Pool(reals, real + synthetic),)
    both = Pool(reals, real), Pool(tuple(range(num_real, num_real + available)), synthetic)
    return tuple(pool for pool in both if pool.per_epoch)


def _synthetic_per_epoch(settings: TrainingDataSettings, num_real: int, available: int) -> int:
    if settings.data == "real":
        return 0
    if settings.data == "synthetic":
        return available
    most = int(num_real * settings.synthetic_share / (1 - settings.synthetic_share) + 1e-9)
    return min(available, most)
