"""Split of an iteration's images over devices, and on a device into passes."""

from gan.settings import GanSettings


def path_length_batch(settings: GanSettings) -> int:
    """Images of a path-length step, over all devices."""
    return settings.batch_size // settings.pl_batch_shrink


def num_passes(settings: GanSettings, share: int) -> int:
    """The smallest number of equal passes of a device's share that respects `images_per_pass`."""
    maximum = settings.images_per_pass or share
    return next(count for count in range(1, share + 1) if share % count == 0 and share // count <= maximum)


def device_count_error(settings: GanSettings, num_devices: int) -> str | None:
    """Why the batch cannot be split over this many devices, and what to change; None if it can."""
    devices = f"{num_devices} devices"
    if settings.batch_size % num_devices:
        return f"batch_size {settings.batch_size} cannot be split evenly over {devices}"
    if settings.pl_weight > 0 and path_length_batch(settings) % num_devices:
        return (
            f"the path-length batch of {path_length_batch(settings)} (batch_size / pl_batch_shrink) cannot be split "
            f"evenly over {devices}"
        )
    share = settings.batch_size // num_devices
    per_pass = share // num_passes(settings, share)
    if per_pass % settings.mbstd_group_size:
        return (
            f"mbstd_group_size {settings.mbstd_group_size} does not divide the {per_pass} images of one pass on each "
            f"of {devices}; lower it, or change batch_size, images_per_pass or the number of devices"
        )
    return None
