"""Cost of a network: its parameters, and its multiply-adds for one image."""

from segkit.models import build_model
from segkit.models.settings import ModelSettings

SIDE = 512
"""Side of the square image that multiply-adds are counted for, in pixels."""


def of_network(settings: ModelSettings, num_classes: int = 1, side: int = SIDE) -> tuple[int, int]:
    """Trainable parameters, and multiply-adds for one image of `side` x `side` pixels; nothing is computed.

    Only multiply-adds of convolutions and matrix products are counted, so a filter without weights has none.

    `side` is a multiple of the network's stride.
    """
    if not settings.trainable:
        return 0, 0
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = build_model(settings, num_classes).eval()
        image = torch.empty(1, settings.image_channels, side, side)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    num_parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return num_parameters, int(counter.get_total_flops()) // 2  # it counts a multiply-add as two operations
