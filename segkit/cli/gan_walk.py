"""`segkit gan interpolate` and `segkit gan mix`: walks between images, and style mixing."""

from functools import partial
from pathlib import Path
from typing import Literal

import click

from segkit.cli.gan_options import seeds_option, truncation_psi_option, weights_option
from segkit.cli.options import PATH, file_option


@click.command()
@weights_option
@seeds_option("--seeds", "Seeds of the images to go through, as in 1,5,9.")
@click.option(
    "--frames",
    type=click.IntRange(1, 10_000),
    default=24,
    show_default=True,
    help="Steps from each image to the next.",
)
@click.option(
    "--space",
    type=click.Choice(["w", "z"]),
    default="w",
    show_default=True,
    help="Straight in W, or along great circles in Z.",
)
@truncation_psi_option(0.7)
@click.option(
    "--closed/--open", default=None, help="Return to the first image at the end, or not.  [default: only films return]"
)
@click.option("--fps", type=click.IntRange(1, 50), default=24, show_default=True, help="Frames of a film per second.")
@click.option(
    "--out",
    type=PATH,
    required=True,
    help="A file ending in .png for a strip with a row for each pair of seeds, or in .gif, .webp, .apng or .mp4 for a "
    "film.",
)
def interpolate(
    weights: Path,
    seeds: tuple[int, ...],
    frames: int,
    space: Literal["w", "z"],
    truncation_psi: float,
    closed: bool | None,
    fps: int,
    out: Path,
) -> None:
    """Draw the path from each seed's image to the next, as a strip or a film; the suffix of --out decides which.

    All images have the same noise, so a film does not flicker.
    """
    from gan.drawing.sampling import fastest_device, read_generator, sample_grid
    from gan.drawing.walks import check_num_images, draw_walk, film_positions, strip_positions
    from segkit.core import images, videos
    from segkit.core.errors import RequestError
    from segkit.core.outputs import check_file
    from segkit.core.progress import tracked
    from segkit.core.wording import counted

    check_file(out, "--out", (".png", *videos.SUFFIXES))
    strip = out.suffix.lower() == ".png"
    if len(seeds) < 2:
        raise RequestError("a walk needs two seeds or more, as in --seeds 1,5")
    returns = not strip if closed is None else closed
    rows = strip_positions(seeds, frames, returns) if strip else [film_positions(seeds, frames, returns)]
    settings, generator = read_generator(weights)
    positions = [position for row in rows for position in row]
    count = len(positions)
    check_num_images(count, settings.resolution)
    generator.to(fastest_device())
    pictures = draw_walk(generator, tracked(positions, count, "interpolate", "frame"), space, truncation_psi)
    if strip:
        images.write_image(out, sample_grid(pictures, num_columns=len(rows[0])))
        click.echo(f"{out}: {counted(len(rows), 'row')} of {counted(len(rows[0]), 'image')}")
    else:
        videos.write_video(out, [images.as_rgb(picture) for picture in pictures], fps)  # films have no alpha
        click.echo(f"{out}: {counted(count, 'frame')}, {count / fps:.1f} s")


@click.command()
@weights_option
@seeds_option("--rows", "Seeds of the images on the left, as in 0-3.")
@seeds_option("--columns", "Seeds of the images at the top, as in 10-15.")
@click.option(
    "--layers",
    default="coarse",
    show_default=True,
    help="Which styles come from the column: coarse (4 to 8 pixels), middle (16 to 32), fine (64 and up), or by number "
    "as in 0-3,6.",
)
@truncation_psi_option(0.7)
@file_option("--out", "The picture: a file ending in .png.", ".png", required=True)
def mix(
    weights: Path, rows: tuple[int, ...], columns: tuple[int, ...], layers: str, truncation_psi: float, out_path: Path
) -> None:
    """Draw a grid of style mixing: each image has its row's styles, but those of --layers from its column.

    Each resolution from 4 pixels up has two styles: a network of 64 pixels has the styles 0 to 9. The first row and
    column show the images of the seeds themselves.
    """
    from gan.drawing.sampling import fastest_device, read_generator
    from gan.drawing.walks import check_num_images, draw_mixtures, parse_layers
    from segkit.core.images import write_image
    from segkit.core.progress import tracked
    from segkit.core.wording import counted

    settings, generator = read_generator(weights)
    numbers = parse_layers(layers, settings.resolution)
    count = (len(rows) + 1) * (len(columns) + 1) - 1
    check_num_images(count, settings.resolution)
    generator.to(fastest_device())
    track = partial(tracked, total=count, label="mix", unit="image")
    write_image(out_path, draw_mixtures(generator, rows, columns, numbers, truncation_psi, track))
    styles = f"style{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    click.echo(f"{out_path}: {counted(len(rows), 'row')} with {styles} of {counted(len(columns), 'column')}")
