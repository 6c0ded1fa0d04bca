"""`segkit gan import`: weights of NVIDIA's code."""

from pathlib import Path

import click

from segkit.cli.gan_options import seed_option
from segkit.cli.options import PATH


@click.command("import")
@click.argument("file", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for the networks, new or empty.")
@click.option("--resolution", type=int, help="Adapt the networks to square images of this edge in pixels.")
@click.option("--image-channels", type=int, help="Adapt the networks to images of this many channels: 1 gray, 3 RGB.")
@seed_option("Seed of the layers that an adaptation initialises.")
def import_weights(file: Path, out: Path, resolution: int | None, image_channels: int | None, seed: int) -> None:
    """Convert FILE, a .pkl of NVIDIA's stylegan2-ada-pytorch, into weights that cannot run code; its code is not run.

    StyleGAN2 networks of NVIDIA's stylegan3 program load too. The folder keeps NVIDIA's licence. Start a training from
    the folder, or from the .pkl itself, with --set gan.init_from=OUT.
    """
    from gan.checkpoints.interop.convert import import_snapshot
    from gan.settings import presets_with
    from segkit.core.wording import counted

    s, adaptation = import_snapshot(file, out, resolution, image_channels, seed)
    presets = presets_with(s.resolution, s.channel_base, s.num_mapping_layers, s.d_architecture)
    click.echo(
        f"{out}: {s.resolution}x{s.resolution}, image_channels {s.image_channels}, "
        f"{counted(s.num_mapping_layers, 'mapping layer')}, channel_base {s.channel_base}, "
        f"channel_max {s.channel_max}, z {s.z_dim}, w {s.w_dim}; augmentation had reached p = {s.augment_p:.3f}\n"
        f"presets with networks of this size at this resolution: {', '.join(presets) or 'none; set these values'}"
    )
    if adaptation.changes:
        click.echo(f"adapted\n{adaptation.summary()}")
