"""`segkit gan import`: weights of NVIDIA's code."""

from pathlib import Path

import click

from segkit.cli.seeds import LARGEST_SEED


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the networks, new or empty.")
@click.option("--resolution", type=int, help="Adapt the networks to square images of this edge in pixels.")
@click.option("--image-channels", type=int, help="Adapt the networks to images with so many channels: 1 gray, 3 RGB.")
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=0,
    show_default=True,
    help="Seed of the layers that an adaptation begins anew.",
)
def import_weights(file: Path, out: Path, resolution: int | None, image_channels: int | None, seed: int) -> None:
    """Turn FILE, a .pkl of NVIDIA's stylegan2-ada-pytorch, into weights that cannot run code, without running its own.

    StyleGAN2 networks of NVIDIA's stylegan3 program load as well. The folder keeps NVIDIA's licence. Start from it with
    --set gan.init_from=OUT; the .pkl itself does as well.
    """
    from gan.checkpoints.interop.convert import import_snapshot
    from gan.settings import presets_with
    from segkit.core.outputs import check_folder
    from segkit.core.wording import counted

    check_folder(out, "--out")
    found, adaptation = import_snapshot(file, out, resolution, image_channels, seed)
    fitting = presets_with(found.resolution, found.channel_base, found.num_mapping_layers, found.d_architecture)
    click.echo(
        f"{out}: {found.resolution}x{found.resolution}, image_channels {found.image_channels}, "
        f"{counted(found.num_mapping_layers, 'mapping layer')}, channel_base {found.channel_base}, "
        f"channel_max {found.channel_max}, z {found.z_dim}, w {found.w_dim}; "
        f"augmentation had reached p = {found.augment_p:.3f}\n"
        f"presets with networks of this size at this resolution: {', '.join(fitting) or 'none; set these values'}"
    )
    if adaptation.changes:
        click.echo(f"adapted as asked\n{adaptation.summary()}")
