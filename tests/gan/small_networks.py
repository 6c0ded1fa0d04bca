"""Networks of a few thousand numbers, for tests of weights on disk."""

import torch

from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.settings import GanSettings
from tests.reference import gan_official_pickle as official

AUGMENT = {"p": torch.tensor(0.25), "Hz_geom": torch.ones(12), "Hz_fbank": torch.ones(4, 43)}
"""Tensors of an official augmentation pipe, which reading skips."""


def tiny(**changes):
    """Settings of 16x16 networks; no two of their sizes are alike, so that none can be taken for another."""
    values = {"resolution": 16, "batch_size": 4, "channel_base": 128, "channel_max": 16, "z_dim": 8, "w_dim": 6}
    return GanSettings(**(values | {"num_mapping_layers": 2} | changes))


def networks(settings, seed=0):
    """The three networks by name, with nothing at its initial value, so that nothing can be left out unseen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = {
            "generator": Generator(settings),
            "discriminator": Discriminator(settings),
            "generator_ema": Generator(settings),
        }
        for network in nets.values():
            for name, value in network.state_dict().items():
                if not name.endswith("resample_filter"):
                    value.add_(torch.randn_like(value) * 0.1)
    return nets


def states(nets):
    """The tensors of G, D and G_ema."""
    return [dict(nets[name].state_dict()) for name in ("generator", "discriminator", "generator_ema")]


def copies(nets):
    """The tensors of each network by its name, as they are now."""
    return {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in nets.items()}


def same(tensors, network):
    """Whether a network has just these tensors, bit for bit."""
    own = network.state_dict()
    return own.keys() == tensors.keys() and all(torch.equal(own[name], tensors[name]) for name in own)


def content(nets, **options):
    """The networks as an official snapshot holds them; for options see `tests.reference.gan_official_pickle`."""
    return official.snapshot(*states(nets), AUGMENT, **options)
