"""`segkit gan interpolate` and `segkit gan mix`: pictures of what lies between images and of what each style does."""

from pathlib import Path
from typing import Literal

import click

from segkit.cli.gan_options import truncation_psi_option, weights_option
from segkit.cli.seeds import seeds_callback

_MOST_PIXELS = 500_000_000


@click.command()
@weights_option
@click.option(
    "--seeds",
    metavar="SEEDS",
    callback=seeds_callback,
    required=True,
    help="Seeds of the images to go through, as in 1,5,9.",
)
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
@click.option("--fps", type=click.IntRange(1, 50), default=24, show_default=True, help="Frames of a film in a second.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A file ending in .png for a strip with a row for each way from seed to seed, or in .gif, .webp, .apng or "
    ".mp4 for a film.",
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
    """Draw the way from one seed's image to the next, as a strip or a film; the ending of --out decides which.

    The noise stands still, so that nothing flickers.
    """
    from gan.drawing.sampling import draw_styles, fastest_device, levels_8bit, read_generator, sample_grid
    from gan.drawing.walks import between, film_positions, strip_positions
    from segkit.cli.progress import tracked
    from segkit.core import images, videos
    from segkit.core.errors import RequestError
    from segkit.core.outputs import check_file
    from segkit.core.wording import counted

    check_file(out, "--out", (".png", *videos.SUFFIXES))
    strip = out.suffix.lower() == ".png"
    if len(seeds) < 2:
        raise RequestError("a walk needs two seeds or more, as in --seeds 1,5")
    _check_psi(truncation_psi)
    closes = not strip if closed is None else closed
    rows = strip_positions(seeds, frames, closes) if strip else [film_positions(seeds, frames, closes)]
    settings, generator = read_generator(weights)
    count = sum(map(len, rows))
    _check_size(count, settings.resolution)
    generator.to(fastest_device())
    pictures = [
        levels_8bit(draw_styles(generator, between(generator, *position, space, truncation_psi)))
        for position in tracked((position for row in rows for position in row), count, "interpolate", "frame")
    ]
    if strip:
        images.write_image(out, sample_grid(pictures, num_columns=len(rows[0])))
        click.echo(f"{out}: {counted(len(rows), 'row')} of {counted(len(rows[0]), 'image')}")
    else:
        videos.write_video(out, [images.as_rgb(picture) for picture in pictures], fps)  # films have no alpha
        click.echo(f"{out}: {counted(count, 'frame')}, {count / fps:.1f} s")


@click.command()
@weights_option
@click.option(
    "--rows",
    metavar="SEEDS",
    callback=seeds_callback,
    required=True,
    help="Seeds of the images on the left, as in 0-3.",
)
@click.option(
    "--columns",
    metavar="SEEDS",
    callback=seeds_callback,
    required=True,
    help="Seeds of the images at the top, as in 10-15.",
)
@click.option(
    "--layers",
    default="coarse",
    show_default=True,
    help="Which styles come from the column: coarse (4 to 8 pixels), middle (16 to 32), fine (64 and up), or by number "
    "as in 0-3,6.",
)
@truncation_psi_option(0.7)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The picture: a file ending in .png.")
def mix(
    weights: Path, rows: tuple[int, ...], columns: tuple[int, ...], layers: str, truncation_psi: float, out: Path
) -> None:
    """Draw a grid of style mixing: each image has its row's styles, but those of --layers from its column.

    Each resolution from 4 pixels up has two styles, so that a network of 64 pixels has the styles 0 to 9. The first row
    and column show the images of the seeds themselves.
    """
    import numpy as np

    from gan.drawing import walks
    from gan.drawing.sampling import draw_styles, fastest_device, levels_8bit, read_generator, sample_grid, styles
    from segkit.cli.progress import tracked
    from segkit.core import images
    from segkit.core.outputs import check_file
    from segkit.core.wording import counted

    check_file(out, "--out", (".png",))
    _check_psi(truncation_psi)
    settings, generator = read_generator(weights)
    taken = walks.parse_layers(layers, settings.resolution)
    count = (len(rows) + 1) * (len(columns) + 1) - 1
    _check_size(count, settings.resolution)
    generator.to(fastest_device())
    left, top = ([styles(generator, seed, truncation_psi) for seed in seeds] for seeds in (rows, columns))
    cells = [*top, *(cell for base in left for cell in (base, *(walks.mix(base, other, taken) for other in top)))]
    drawn = [levels_8bit(draw_styles(generator, ws)) for ws in tracked(cells, count, "mix", "image")]
    corner = np.zeros_like(drawn[0])
    images.write_image(out, sample_grid([corner, *drawn], num_columns=len(columns) + 1))
    named = f"style{'s' if len(taken) > 1 else ''} {', '.join(map(str, taken))}"
    click.echo(f"{out}: {counted(len(rows), 'row')} with {named} of {counted(len(columns), 'column')}")


def _check_psi(truncation_psi: float) -> None:
    from gan.settings import SamplingSettings
    from segkit.core.config import validate

    validate(SamplingSettings, {"truncation_psi": truncation_psi}, "segkit gan")


def _check_size(num_images: int, resolution: int) -> None:
    from segkit.core.errors import RequestError

    if num_images * resolution**2 > _MOST_PIXELS:
        most = _MOST_PIXELS // resolution**2
        raise RequestError(
            f"{num_images:,} images of {resolution}x{resolution} pixels are too many; {most:,} can be shown"
        )
