"""`segkit gan import`: weights of NVIDIA's code."""

from pathlib import Path

import click


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the networks.")
def import_weights(file: Path, out: Path) -> None:
    """Turn a .pkl of NVIDIA's stylegan2-ada-pytorch into weights that cannot run code, without running its own.

    The folder keeps NVIDIA's licence. Start from it with --set gan.init_from=OUT; the .pkl itself does as well.
    """
    from gan.interop.convert import import_snapshot
    from gan.settings import presets_with

    found = import_snapshot(file, out)
    fitting = presets_with(found.resolution, found.channel_base, found.num_mapping_layers)
    click.echo(
        f"{out}: {found.resolution}x{found.resolution}, {found.image_channels} image channels, "
        f"{found.num_mapping_layers} mapping layers, channel_base {found.channel_base}, "
        f"channel_max {found.channel_max}, z {found.z_dim}, w {found.w_dim}; "
        f"augmentation had reached p = {found.augment_p:.3f}\n"
        f"presets with networks of this size: {', '.join(fitting) or 'none; set these values'}"
    )
