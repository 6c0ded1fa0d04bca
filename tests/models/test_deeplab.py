import numpy as np
import pytest
import torch

from segkit.models import build_model
from segkit.models.heads import as_outputs
from segkit.models.settings import DeepLabV3Settings

NUM_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def build(**changes):
    with torch.device("meta"):
        return build_model(DeepLabV3Settings(**changes), 21)


def tensors(backbone="resnet50", num_classes=21, auxiliary=True):
    """Names and shapes of torchvision's state dict, in its order, from its documented layout."""

    def conv(name, out_channels, in_channels, side):
        return {f"{name}.weight": (out_channels, in_channels, side, side)}

    def norm(name, channels):
        shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
        return {f"{name}.{key}": shape for key, shape in (shapes | {"num_batches_tracked": ()}).items()}

    out = conv("backbone.conv1", 64, 3, 7) | norm("backbone.bn1", 64)
    channels = 64
    for stage, (num_blocks, width) in enumerate(zip(NUM_BLOCKS[backbone], (64, 128, 256, 512), strict=True), start=1):
        for block in range(num_blocks):
            name = f"backbone.layer{stage}.{block}"
            out |= conv(f"{name}.conv1", width, channels, 1) | norm(f"{name}.bn1", width)
            out |= conv(f"{name}.conv2", width, width, 3) | norm(f"{name}.bn2", width)
            out |= conv(f"{name}.conv3", 4 * width, width, 1) | norm(f"{name}.bn3", 4 * width)
            if block == 0:
                out |= conv(f"{name}.downsample.0", 4 * width, channels, 1) | norm(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    for branch, side in enumerate((1, 3, 3, 3)):
        name = f"classifier.0.convs.{branch}"
        out |= conv(f"{name}.0", 256, 2048, side) | norm(f"{name}.1", 256)
    out |= conv("classifier.0.convs.4.1", 256, 2048, 1) | norm("classifier.0.convs.4.2", 256)
    out |= conv("classifier.0.project.0", 256, 1280, 1) | norm("classifier.0.project.1", 256)
    out |= conv("classifier.1", 256, 256, 3) | norm("classifier.2", 256)
    out |= conv("classifier.4", num_classes, 256, 1) | {"classifier.4.bias": (num_classes,)}
    if auxiliary:
        out |= conv("aux_classifier.0", 256, 1024, 3) | norm("aux_classifier.1", 256)
        out |= conv("aux_classifier.4", num_classes, 256, 1) | {"aux_classifier.4.bias": (num_classes,)}
    return out


@pytest.mark.parametrize(("backbone", "num_entries"), [("resnet50", 318 + 44 + 8), ("resnet101", 624 + 44 + 8)])
def test_names_shapes_and_order_of_the_tensors_are_torchvisions(backbone, num_entries):
    own = {name: tuple(value.shape) for name, value in build(backbone=backbone).state_dict().items()}
    assert list(own.items()) == list(tensors(backbone).items())
    assert len(own) == num_entries


@pytest.mark.parametrize(
    ("backbone", "num_channels", "auxiliary", "published"),
    [
        ("resnet50", 21, True, 42_004_074),
        ("resnet101", 21, True, 60_996_202),
        ("resnet50", 21, False, 39_638_869),
        ("resnet101", 21, False, 58_630_997),
        ("resnet50", 1, False, 39_633_729),
        ("resnet101", 1, False, 58_625_857),
    ],
)
def test_the_published_sizes_are_met(backbone, num_channels, auxiliary, published):
    with torch.device("meta"):
        network = build_model(DeepLabV3Settings(backbone=backbone, auxiliary_head=auxiliary), num_channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == published


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations", "rates"),
    [
        (8, (1, 2, 1, 1), ((1, 1), (1, 1), (1, 2), (2, 4)), (12, 24, 36)),
        (16, (1, 2, 2, 1), ((1, 1), (1, 1), (1, 1), (1, 2)), (6, 12, 18)),
    ],
)
def test_the_last_stages_dilate_in_place_of_striding(output_stride, strides, dilations, rates):
    network = build(output_stride=output_stride)
    stages = [network.backbone.get_submodule(f"layer{stage}") for stage in range(1, 5)]
    for stage, stride, (first, others) in zip(stages, strides, dilations, strict=True):
        assert [block.conv2.stride[0] for block in stage] == [stride] + [1] * (len(stage) - 1)
        assert [block.conv2.dilation[0] for block in stage] == [first] + [others] * (len(stage) - 1)
        assert [block.conv2.padding for block in stage] == [block.conv2.dilation for block in stage]
    assert tuple(network.classifier[0].convs[branch][0].dilation[0] for branch in (1, 2, 3)) == rates


def test_features_are_those_of_the_stem_and_the_stages():
    maps = build(width=4).features(torch.empty(1, 3, 64, 48, device="meta"))
    assert [tuple(level.shape[1:]) for level in maps] == [
        (4, 32, 24),
        (16, 16, 12),
        (32, 8, 6),
        (64, 8, 6),
        (128, 8, 6),
    ]


def test_colour_images_are_normalised_as_torchvisions_weights_need_it():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 16, 16)
    network = build_model(DeepLabV3Settings(width=2)).eval()
    plain = build_model(DeepLabV3Settings(width=2, imagenet_normalization=False)).eval()
    plain.load_state_dict(network.state_dict())
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = (image.numpy() - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(network(image), plain(torch.from_numpy(normalised).float()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("auxiliary", [True, False])
def test_the_auxiliary_head_can_be_left_out(auxiliary):
    network = build_model(DeepLabV3Settings(width=2, auxiliary_head=auxiliary)).train()
    assert len(as_outputs(network(torch.rand(2, 3, 16, 16))).auxiliary) == auxiliary


def test_a_batch_of_one_image_trains():
    torch.manual_seed(0)
    network = build_model(DeepLabV3Settings(width=2)).train()
    pooling = network.classifier[0].convs[4]
    mean = pooling[2].running_mean.clone()
    result = network(torch.rand(1, 3, 32, 32))
    (result.logits.square().mean() + result.auxiliary[0].square().mean()).backward()
    assert result.logits.isfinite().all()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert torch.equal(pooling[2].running_mean, mean)  # one image has no variance to learn from
    network(torch.rand(2, 3, 32, 32))
    assert not torch.equal(pooling[2].running_mean, mean)


def test_image_pooling_of_one_image_is_that_of_prediction():
    pooling = build_model(DeepLabV3Settings(width=2)).classifier[0].convs[4].train()
    features = torch.randn(1, 64, 5, 4)
    of_training = pooling(features)
    assert torch.equal(of_training, pooling.eval()(features))
    assert of_training.shape == (1, 8, 5, 4)
    assert (of_training.amax((2, 3)) - of_training.amin((2, 3))).abs().max() < 1e-6
