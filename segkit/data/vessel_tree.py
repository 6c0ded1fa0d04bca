"""Vessel trees for phantoms, grown branch by branch into empty tissue, with widths by Murray's law.

Lengths are in radii of the field of view. The origin is its centre; x points right and y down.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

STEP = 0.02
"""Length of one edge."""
TIP_FLOW = 0.10
"""Flow at a tip, in units of the flow of a vessel of radius 1."""
WIGGLE = 0.10
"""Sideways amplitude of a branch relative to its length."""
LOSS_PER_STEP = 0.05
"""Flow lost per edge to side branches that are too thin to draw; vessels taper between forks because of it."""


@dataclass(frozen=True)
class VesselTree:
    """Nodes; parents come before their children."""

    points: Floats
    """(n, 2)"""
    parents: Ints
    """(n,), -1 at the root."""

    @property
    def edges(self) -> Ints:
        """(n - 1, 2): parent and child."""
        children = np.flatnonzero(self.parents >= 0)
        return np.stack([self.parents[children], children], axis=1)

    def lengths(self) -> Floats:
        """(n - 1,): length of each of `edges`."""
        start, end = self.edges.T
        return np.asarray(np.hypot(*(self.points[end] - self.points[start]).T))


def grow(
    rng: np.random.Generator,
    trunks: Sequence[Floats],
    spacings: Iterable[float],
    trials: int,
    avascular: tuple[Floats, float],
) -> VesselTree:
    """Grow branches from trunks to random points, first to points far from any vessel, then to nearer ones.

    In this order short branches leave long ones (the idea of constrained constructive optimisation, Schreiner 1993).

    Args:
        trunks: polylines (k, 2) with the same first point, the root.
        spacings: decreasing minimum distances of a supplied point from the nearest vessel.
        trials: random points per spacing.
        avascular: centre and radius of a disc without vessels.
    """
    points, parents, headings = _join_trunks(trunks)
    centre, radius = avascular
    for spacing in spacings:
        for place in rng.uniform(-1, 1, (trials, 2)):
            if np.hypot(*place) > 0.985:
                continue
            away = place - points
            distance = np.hypot(*away.T)
            # long branches avoid the avascular disc; only short ones point to it
            if distance.min() < spacing or np.hypot(*(place - centre)) < radius + 0.8 * spacing:
                continue
            # branches leave forwards: points ahead of a vessel have a lower cost than points behind it
            forward = (away * headings).sum(axis=1) / distance
            source = int((distance * (1.45 - 0.75 * forward)).argmin())
            path = _branch(rng, points[source], headings[source], place)
            if np.hypot(*(path - centre).T).min() < radius:
                continue
            parents = np.concatenate([parents, [source], len(points) + np.arange(len(path) - 1)])
            headings = np.concatenate([headings, _headings(np.concatenate([points[source, None], path]))[1:]])
            points = np.concatenate([points, path])
    return VesselTree(points, parents.astype(np.intp))


def prune(tree: VesselTree, keep: npt.NDArray[np.bool_]) -> VesselTree:
    """The tree without nodes outside `keep` and their descendants; the root always remains."""
    kept = keep.copy()
    kept[0] = True
    for node in range(1, len(kept)):
        kept[node] &= kept[tree.parents[node]]
    index = np.cumsum(kept) - 1
    parents = np.where(tree.parents >= 0, index[tree.parents], -1)
    return VesselTree(tree.points[kept], parents[kept])


def radii(tree: VesselTree) -> Floats:
    """(n,): relative radius by Murray's law, r^3 = sum of the children's r^3 (Murray 1926), plus the loss per edge."""
    flow = np.zeros(len(tree.points))
    for node in range(len(flow) - 1, -1, -1):
        flow[node] += LOSS_PER_STEP if flow[node] > 0 else TIP_FLOW
        if tree.parents[node] >= 0:
            flow[tree.parents[node]] += flow[node]
    return np.asarray(np.cbrt(flow))


def widths(tree: VesselTree, area: float, thinnest: float, thickest: float) -> Floats:
    """(n,): width of each node, scaled so that the tree covers `area` as closely as the bounds allow."""
    relative, (start, end), lengths = radii(tree), tree.edges.T, tree.lengths()
    low, high = 0.0, thickest / (2 * float(relative.min()))
    for _ in range(30):
        scale = (low + high) / 2
        width = np.clip(2 * scale * relative, thinnest, thickest)
        covered = float((lengths * (width[start] + width[end]) / 2).sum())
        low, high = (scale, high) if covered < area else (low, scale)
    return np.asarray(np.clip(2 * high * relative, thinnest, thickest))


def resample(curve: Floats) -> Floats:
    """Points at distances of STEP along a polyline, from its first point to about its last."""
    travelled = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    at = np.linspace(0, travelled[-1], max(2, round(travelled[-1] / STEP) + 1))
    return np.stack([np.interp(at, travelled, curve[:, axis]) for axis in (0, 1)], axis=1)


def bezier(controls: Floats, num_points: int = 60) -> Floats:
    """(num_points, 2) on the cubic curve of four control points (4, 2)."""
    t = np.linspace(0, 1, num_points)[:, None]
    a, b, c, d = controls
    return np.asarray((1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d)


def add_waves(rng: np.random.Generator, curve: Floats, amplitude: float) -> Floats:
    """Displace a curve sideways by a few slow waves that are 0 at its ends; `amplitude` is in radii."""
    t = np.linspace(0, 1, len(curve))
    waves = sum(rng.normal(0, 1 / k) * np.sin(np.pi * k * t) for k in (2, 3, 5, 8, 13))
    heading = _headings(curve)
    sideways = np.stack([-heading[:, 1], heading[:, 0]], axis=1)
    return np.asarray(curve + amplitude * np.asarray(waves)[:, None] * sideways)


def _branch(rng: np.random.Generator, source: Floats, heading: Floats, place: Floats) -> Floats:
    """The nodes of a branch after its source; it starts between the old heading and the direction of its end."""
    reach = np.hypot(*(place - source))
    aim = (place - source) / reach
    leave = aim + 0.7 * heading + rng.normal(0, 0.15, 2)
    leave /= max(float(np.hypot(*leave)), 1e-9)
    arrive = aim + rng.normal(0, 0.35, 2)
    curve = bezier(np.array([source, source + reach / 3 * leave, place - reach / 3 * arrive, place]))
    return resample(add_waves(rng, curve, WIGGLE * reach * 0.4))[1:]


def _join_trunks(trunks: Sequence[Floats]) -> tuple[Floats, Ints, Floats]:
    """Nodes, parents and headings of trunks that share their first point."""
    points, headings, parents = [trunks[0][:1]], [np.zeros((1, 2))], [np.array([-1])]
    count = 1
    for trunk in trunks:
        points.append(trunk[1:])
        headings.append(_headings(trunk)[1:])
        parents.append(np.concatenate([[0], count + np.arange(len(trunk) - 2)]))
        count += len(trunk) - 1
    return np.concatenate(points), np.concatenate(parents), np.concatenate(headings)


def _headings(curve: Floats) -> Floats:
    slope = np.gradient(curve, axis=0)
    return np.asarray(slope / np.maximum(np.hypot(*slope.T), 1e-9)[:, None])
