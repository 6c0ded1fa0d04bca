"""Our networks behind the interface of the official ones. What is compared through it must come out equal."""

from gan import discriminator, generator
from gan.settings import GanSettings


def _settings(img_resolution, img_channels, channel_base, channel_max, num_fp16_res=0, **others):
    return GanSettings(
        resolution=img_resolution,
        image_channels=img_channels,
        channel_base=channel_base,
        channel_max=channel_max,
        num_low_precision_resolutions=num_fp16_res,
        **others,
    )


class MappingNetwork(generator.MappingNetwork):
    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None):
        return super().forward(z, float(truncation_psi), truncation_cutoff)


class SynthesisNetwork(generator.SynthesisNetwork):
    def forward(self, ws, noise_mode="random", force_fp32=False):
        return super().forward(ws, noise_mode)


class Generator(generator.Generator):
    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs, synthesis_kwargs):
        sizes = {"z_dim": z_dim, "w_dim": w_dim, "num_mapping_layers": mapping_kwargs["num_layers"]}
        super().__init__(_settings(img_resolution, img_channels, **synthesis_kwargs, **sizes))
        assert c_dim == 0
        self.mapping.__class__, self.synthesis.__class__ = MappingNetwork, SynthesisNetwork

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, **synthesis_kwargs):
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), **synthesis_kwargs)


class Discriminator(discriminator.Discriminator):
    def __init__(self, c_dim, img_resolution, img_channels, epilogue_kwargs, **sizes):
        super().__init__(_settings(img_resolution, img_channels, **epilogue_kwargs, **sizes))
        assert c_dim == 0

    def forward(self, img, c):
        return super().forward(img)
