"""`segkit models`: the list of networks and shipped models, and the card of a model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli import completion
from segkit.cli.options import json_option, named_model, runs_option

if TYPE_CHECKING:
    from segkit.models.catalogue import Entry

THRESHOLD_SOURCES = {
    "fixed-0.5": "fixed",
    "val-best-dice": "best Dice on the validation images",
    "out-of-fold-best-dice": "best Dice on out-of-fold predictions",
}


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completion.networks_and_models)
@runs_option
@json_option("the list, settings and cards included,")
def models(names: tuple[str, ...], runs: Path, json_path: Path | None) -> None:
    """List the shipped models, and the networks: size, cost, the paper, and the licence of its authors' code.

    NAME is a network, whose settings are listed too, or a trained model as for `segkit predict --weights`, whose card
    is printed: data and terms, scores, limits, training, threshold, sha256. The networks are written from the papers
    and have this project's licence.
    """
    from segkit.core.errors import RequestError, WeightsError
    from segkit.core.files import write_json
    from segkit.core.names import hint
    from segkit.models.catalogue import describe
    from segkit.models.settings import MODELS, default_settings
    from segkit.weights import shipped_models

    networks = [kind.model_fields["name"].default for kind in MODELS]
    shipped = shipped_models()
    entries: list[dict[str, Any]] = []
    for name in names or (*shipped, *networks):
        if name in networks:
            entry = describe(default_settings(name))
            entries.append(entry.to_json())
            lines = _network(entry, with_settings=bool(names))
        else:
            try:
                folder = named_model(name, runs, "network")
                card = _read_card(folder)
            except WeightsError as error:
                nearest = hint(name, [*networks, *shipped], str(error))
                raise RequestError(f"no network is called {name!r}; {nearest}") from error
            entries.append({"name": name, "folder": str(folder), "card": card})
            lines = _card(name, folder, card) if names else _short_card(name, card)
        for line in lines:
            click.echo(line)
    if not names:
        click.echo("\nSettings of a network, or the card of a shipped model: segkit models NAME")
    if json_path is not None:
        write_json(json_path, entries)


def _read_card(folder: Path) -> dict[str, Any]:
    """The card of a model's folder, which loads no torch, or of an ONNX file.

    Raises:
        WeightsError: it holds none.
    """
    if folder.suffix == ".onnx" and folder.is_file():
        from segkit.tasks.onnx_file import read_onnx_card

        return dict(read_onnx_card(folder))
    from segkit.core.errors import WeightsError
    from segkit.core.files import read_json

    if not (folder / "model.json").is_file():
        raise WeightsError(f"{folder} holds no model.json, the card of a model")
    return dict(read_json(folder / "model.json"))


def _network(entry: "Entry", with_settings: bool) -> Iterator[str]:
    from segkit.models.cost import SIDE

    yield f"{entry.name}: {entry.description}"
    cost = f"{entry.multiply_adds / 1e9:.2f} billion multiply-adds at {SIDE}x{SIDE}"
    yield f"  {entry.parameters:,} parameters; {cost}; stride {entry.stride}; {entry.implementation}"
    yield f"  paper: {entry.paper}"
    yield f"  authors' code: {entry.authors_code}; licence: {entry.licence}"
    for setting in entry.settings if with_settings else ():
        yield f"  {setting.name} = {setting.default!r}  {setting.description}".rstrip()


def _short_card(name: str, card: Mapping[str, Any]) -> Iterator[str]:
    first = (card["details"].get("card", {}).get("notes") or "").partition("\n")[0]
    yield f"{name}: shipped model, {_kind(card)}. {first}".rstrip()


def _kind(card: Mapping[str, Any]) -> str:
    details = card["details"]
    if card["kind"] == "ensemble":
        return f"an ensemble of {len(details['members'])} networks"
    return f"network {details['model']['name']}"


def _card(name: str, folder: Path, card: Mapping[str, Any]) -> Iterator[str]:
    """The card of a model, `model.json`, in lines."""
    from segkit.core.files import sha256_file
    from segkit.core.wording import data_size, duration

    details = card["details"]
    record = details.get("card", {})
    yield f"{name}: {_kind(card)}"
    yield from (f"  {line}" for line in (record.get("notes") or "").splitlines())
    yield f"  classes: {', '.join(card['classes']['names'])}"
    if card["classes"]["kind"] == "binary":
        source = THRESHOLD_SOURCES.get(card["threshold_source"], card["threshold_source"])
        yield f"  threshold: {card['threshold']:g} ({source}); temperature {card['temperature']:g}"
    yield f"  test-time augmentation by default: {card['tta']}"
    if images := details.get("images"):
        validated = f", validated on {len(images['val'])}" if images["val"] else ""
        yield f"  trained on {len(images['train'])} images{validated}"
    if diameters := details.get("fov_diameters"):
        low, high = diameters
        yield f"  fields of view of the training images: {low} to {high} pixels wide; others are scaled to that"
    if training := record.get("training"):
        phases = [
            f"{phase['epochs']} epochs of {phase['images_per_epoch'] or 'all'} images, batch {phase['batch_size']}, "
            f"{phase['optimizer']['name']}, augmentation {phase['augmentation']}"
            for phase in training["settings"].get("phases", ())
        ]
        yield f"  training: {'; then '.join(phases) or training['type']}; took {duration(training['seconds'])}"
        versions = training.get("versions") or {}
        made = f"segkit {versions.get('segkit', 'unknown')}, torch {versions.get('torch', 'unknown')}"
        yield f"  made by: {made}, commit {training.get('git_commit') or 'unknown'}"
    yield from _scores(record)
    if "model" in details:
        shown = ", ".join(f"{key} {value}" for key, value in details["model"].items() if key != "name")
        yield f"  settings of the network: {shown}"
    if folder.is_file():
        yield f"  {folder.name}: {data_size(folder.stat().st_size)}, sha256 {sha256_file(folder)}; made from:"
    for file, digest in record.get("sha256", {}).items():
        size = f"{data_size((folder / file).stat().st_size)}, " if (folder / file).is_file() else ""
        yield f"  {file}: {size}sha256 {digest}"
    yield f"  in {folder}"


def _scores(record: Mapping[str, Any]) -> Iterator[str]:
    """Pooled scores of a cross-validation of the same training, and of the stage `evaluate`: a line for each region."""
    folds = record.get("out_of_fold") or {}
    measured = [
        ({"split": f"out-of-fold ({folds.get('num_folds')} folds)"} | score) for score in folds.get("scores", ())
    ]
    lines: dict[str, list[str]] = {}
    for score in (*measured, *record.get("scores", ())):
        if score["averaging"] == "pooled" and score["value"] is not None:
            scored = f"{score['split']} images, region {score['region']}, pooled, n = {score['n']}"
            interval = "" if score["low"] is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
            lines.setdefault(scored, []).append(f"{score['metric']} {score['value']:.3f}{interval}")
    yield from (f"  scores of {scored}: {', '.join(numbers)}" for scored, numbers in lines.items())
