"""The pipeline's stages as an SVG: layers from top to bottom, long arrows led around what is between (Sugiyama 1981).

Arrows that follow from others are left out: evaluate reads every model, but that the ensemble comes before it says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import median

NODE_WIDTH, NODE_HEIGHT, LANE_WIDTH, GAP, LAYER_GAP = 150, 42, 14, 22, 26
"""Sizes in pixels of a stage's box, of the lane of an arrow that passes by, and of the spaces between."""

NUM_SWEEPS = 8
"""Passes of ordering each layer by its neighbours."""


@dataclass(frozen=True)
class Node:
    """A stage as drawn."""

    name: str
    note: str
    """The second line: its verb and how long it took."""
    inputs: tuple[str, ...]
    """Stages it reads, all of them listed before it."""


@dataclass(frozen=True)
class _Lane:
    """Where an arrow passes a layer; `(source, target, layer)` makes it unique."""

    source: str
    target: str
    layer: int


_Place = str | _Lane


def draw(nodes: Sequence[Node], description: str) -> str:
    """The graph as an inline `<svg>`; colours are the page's."""
    inputs = reduced({node.name: node.inputs for node in nodes})
    layers, links = _layers(inputs)
    _order(layers, links)
    across = _positions(layers, links)
    width = max(across[place] + _width(place) / 2 for layer in layers for place in layer)
    height = len(layers) * NODE_HEIGHT + (len(layers) - 1) * LAYER_GAP
    down = {place: number * (NODE_HEIGHT + LAYER_GAP) for number, layer in enumerate(layers) for place in layer}
    arrows = [_arrow(path, across, down) for path in _paths(links, inputs)]
    boxes = [_box(node, across[node.name], down[node.name]) for node in nodes]
    size = f'viewBox="-2 -2 {width + 4:.0f} {height + 4}" style="max-width: {width + 4:.0f}px"'
    return (
        f'<svg class="graph" {size} role="img" aria-label="{escape(description)}"><defs>'
        '<marker id="arrowhead" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0L8 4L0 8z"/></marker></defs>{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def reduced(inputs: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The inputs of each stage without those that another input already needs (transitive reduction)."""
    needs: dict[str, set[str]] = {}
    kept = {}
    for name, direct in inputs.items():
        beyond = set().union(*(needs[other] for other in direct)) if direct else set()
        needs[name] = beyond | set(direct)
        kept[name] = tuple(dict.fromkeys(other for other in direct if other not in beyond))
    return kept


def _layers(inputs: Mapping[str, Sequence[str]]) -> tuple[list[list[_Place]], list[tuple[_Place, _Place]]]:
    """Stages by their longest way from the start, arrows cut into links between neighbouring layers."""
    depth: dict[str, int] = {}
    for name, direct in inputs.items():
        depth[name] = 1 + max((depth[other] for other in direct), default=-1)
    layers: list[list[_Place]] = [[] for _ in range(1 + max(depth.values(), default=0))]
    for name, layer in depth.items():
        layers[layer].append(name)
    links: list[tuple[_Place, _Place]] = []
    for target, direct in inputs.items():
        for source in direct:
            way: list[_Place] = [source]
            for layer in range(depth[source] + 1, depth[target]):
                way.append(_Lane(source, target, layer))
                layers[layer].append(way[-1])
            way.append(target)
            links += pairwise(way)
    return layers, links


def _order(layers: list[list[_Place]], links: Sequence[tuple[_Place, _Place]]) -> None:
    """Sort each layer by the mean rank of its neighbours above, then below, and so on; crossings become few."""
    above: dict[_Place, list[_Place]] = {}
    below: dict[_Place, list[_Place]] = {}
    for source, target in links:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    for sweep in range(NUM_SWEEPS):
        neighbours = below if sweep % 2 else above
        for layer in reversed(layers) if sweep % 2 else layers:
            rank = {place: (index + 0.5) / len(row) for row in layers for index, place in enumerate(row)}
            means = {
                place: sum(rank[other] for other in neighbours[place]) / len(neighbours[place])
                if place in neighbours
                else rank[place]
                for place in layer
            }
            layer.sort(key=means.__getitem__)


def _positions(layers: Sequence[Sequence[_Place]], links: Sequence[tuple[_Place, _Place]]) -> dict[_Place, float]:
    """Middle of each place across the page: from the top down, each as near its sources as its layer allows."""
    across: dict[_Place, float] = {}
    for layer in layers:
        wished = []
        for place in layer:
            above = [across[source] for source, target in links if target == place]
            wished.append(median(above) if above else 0.0)
        across |= zip(layer, _apart(layer, wished), strict=True)
    left = min(across[place] - _width(place) / 2 for place in across)
    return {place: x - left for place, x in across.items()}


def _apart(layer: Sequence[_Place], wished: Sequence[float]) -> list[float]:
    """The middles nearest to those wished, in the sum of squares, at which no two places touch.

    Less the room its left neighbours take, a place's middle must not fall along the layer: isotonic regression, solved
    by pooling what would fall (Ayer 1955).
    """
    room = [0.0]
    for left, right in pairwise(layer):
        room.append(room[-1] + (_width(left) + _width(right)) / 2 + GAP)
    blocks: list[tuple[float, int]] = []
    for wish, taken in zip(wished, room, strict=True):
        mean, count = wish - taken, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return [mean + taken for mean, taken in zip(means, room, strict=True)]


def _paths(links: Sequence[tuple[_Place, _Place]], inputs: Mapping[str, Sequence[str]]) -> list[list[_Place]]:
    """Links joined to whole arrows again."""
    lanes: dict[tuple[str, str], list[_Lane]] = {}
    for _, place in links:
        if isinstance(place, _Lane):
            lanes.setdefault((place.source, place.target), []).append(place)
    return [
        [source, *sorted(lanes.get((source, target), []), key=lambda lane: lane.layer), target]
        for target, direct in inputs.items()
        for source in direct
    ]


def _arrow(path: Sequence[_Place], across: Mapping[_Place, float], down: Mapping[_Place, float]) -> str:
    x, y = across[path[0]], down[path[0]] + NODE_HEIGHT
    drawn = [f"M{x:.1f} {y:.1f}"]
    for place in path[1:]:
        to_x, to_y = across[place], down[place]
        bend = LAYER_GAP / 2
        end = to_y - (0 if isinstance(place, _Lane) else 1)
        drawn.append(f"C{x:.1f} {y + bend:.1f} {to_x:.1f} {end - bend:.1f} {to_x:.1f} {end:.1f}")
        x, y = to_x, to_y
        if isinstance(place, _Lane):
            y += NODE_HEIGHT
            drawn.append(f"L{x:.1f} {y:.1f}")
    return f'<path class="arrow" d="{"".join(drawn)}" marker-end="url(#arrowhead)"/>'


def _box(node: Node, x: float, y: float) -> str:
    left = x - NODE_WIDTH / 2
    squeeze = f' textLength="{NODE_WIDTH - 12}" lengthAdjust="spacingAndGlyphs"' if len(node.name) > 20 else ""
    return (
        f'<g class="stage"><title>{escape(node.name)}: {escape(node.note)}</title>'
        f'<rect x="{left:.1f}" y="{y}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="6"/>'
        f'<text class="name" x="{x:.1f}" y="{y + 18}"{squeeze}>{escape(node.name)}</text>'
        f'<text class="note" x="{x:.1f}" y="{y + 33}">{escape(node.note)}</text></g>'
    )


def _width(place: _Place) -> float:
    return LANE_WIDTH if isinstance(place, _Lane) else NODE_WIDTH
