"""How the images of an iteration are shared out: over devices, and on a device in passes."""

from gan.settings import GanSettings


def path_length_batch(settings: GanSettings) -> int:
    """Images of a path-length step, over all devices."""
    return settings.batch_size // settings.pl_batch_shrink


def num_passes(settings: GanSettings, share: int) -> int:
    """In how many equal passes a device's share goes through the networks: the fewest that fit."""
    most = settings.images_per_pass or share
    return next(count for count in range(1, share + 1) if share % count == 0 and share // count <= most)


def obstacle(settings: GanSettings, num_devices: int) -> str | None:
    """What keeps so many devices from training together, and how to change it; None if nothing does."""
    devices = f"{num_devices} devices"
    if settings.batch_size % num_devices:
        return f"batch_size {settings.batch_size} cannot be shared evenly by {devices}"
    if settings.pl_weight > 0 and path_length_batch(settings) % num_devices:
        return (
            f"the path-length batch of {path_length_batch(settings)} (batch_size / pl_batch_shrink) cannot be shared "
            f"evenly by {devices}"
        )
    share = settings.batch_size // num_devices
    per_pass = share // num_passes(settings, share)
    if per_pass % settings.mbstd_group_size:
        return (
            f"mbstd_group_size {settings.mbstd_group_size} does not divide the {per_pass} images that each of "
            f"{devices} takes at once; lower it, or change batch_size, images_per_pass or the number of devices"
        )
    return None
