"""The GAN's measures once more in plain numpy, written from the papers with loops instead of tricks."""

import numpy as np


def distance(a, b):
    return np.sqrt(((a - b) ** 2).sum())


def fid(real, drawn):
    """Heusel 2017, Eq. 6, by square roots of the covariances themselves."""
    shift = ((real.mean(0) - drawn.mean(0)) ** 2).sum()
    c_real, c_drawn = np.cov(real.T), np.cov(drawn.T)
    root = square_root(c_real)
    return shift + np.trace(c_real + c_drawn - 2 * square_root(root @ c_drawn @ root))


def square_root(symmetric):
    values, vectors = np.linalg.eigh(symmetric)
    return vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T


def kid(real, drawn):
    """Bińkowski 2018: mean kernel of different photographs, of different drawn images, and across."""

    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    def within(points):
        pairs = [(i, j) for i in range(len(points)) for j in range(len(points)) if i != j]
        return np.mean([kernel(points[i], points[j]) for i, j in pairs])

    across = np.mean([kernel(x, y) for x in real for y in drawn])
    return within(real) + within(drawn) - 2 * across


def jackknife_variance(statistic, real, drawn):
    """Of a statistic of two samples: each image of each side left out in turn (Arvesen 1969)."""
    total = 0.0
    for side in (0, 1):
        sides = [real, drawn]
        values = []
        for i in range(len(sides[side])):
            left = list(sides)
            left[side] = np.delete(sides[side], i, axis=0)
            values.append(statistic(*left))
        n = len(values)
        total += (n - 1) / n * sum((value - np.mean(values)) ** 2 for value in values)
    return total


def radius(points, i, k):
    """To the k-th nearest of the other points."""
    return sorted(distance(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]


def covered(centres, k, points):
    """Share of the points that lie in some centre's ball (Kynkäänniemi 2019, Eq. 1 and 2)."""
    radii = [radius(centres, i, k) for i in range(len(centres))]
    return np.mean([any(distance(p, c) <= r for c, r in zip(centres, radii, strict=True)) for p in points])


def largest_product(picture, template, reach):
    """Over all shifts of the template, what leaves the square being lost: (product, rows, columns)."""
    edge = len(picture)
    best = (-np.inf, 0, 0)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            total = 0.0
            for y in range(edge):
                for x in range(edge):
                    if 0 <= y - down < edge and 0 <= x - right < edge:
                        total += picture[y, x] * template[y - down, x - right]
            best = max(best, (total, down, right))
    return best


def closeness(distances, num_next=5):
    """Nearest over the mean of those that come next."""
    nearest, *others = sorted(distances)
    following = others[:num_next]
    return nearest / (sum(following) / len(following))


def kid_of_patients(real, drawn, real_groups, drawn_groups):
    """Gretton 2012, Eq. 3, over pairs of different patients only."""

    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    def mean_within(side, groups):
        pairs = [(i, j) for i in range(len(side)) for j in range(len(side)) if groups[i] != groups[j]]
        return np.mean([kernel(side[i], side[j]) for i, j in pairs])

    across = np.mean([kernel(x, y) for x in real for y in drawn])
    return mean_within(real, real_groups) + mean_within(drawn, drawn_groups) - 2 * across


def jackknife_of_patients(real, drawn, real_groups, drawn_groups):
    """Variance of `kid_of_patients` by leaving out one patient of either side at a time (Arvesen 1969)."""
    total = 0.0
    for side in range(2):
        values = []
        for patient in sorted(set((real_groups, drawn_groups)[side])):
            sides = []
            for number, (points, groups) in enumerate(((real, real_groups), (drawn, drawn_groups))):
                kept = [i for i, group in enumerate(groups) if number != side or group != patient]
                sides.append((points[kept], [groups[i] for i in kept]))
            values.append(kid_of_patients(sides[0][0], sides[1][0], sides[0][1], sides[1][1]))
        total += (len(values) - 1) * np.var(values)
    return total


def closeness_of_patients(distances, groups, num_next=5):
    """Nearest over the mean of those of other patients that come next."""
    nearest = min(range(len(distances)), key=lambda index: distances[index])
    following = sorted(d for d, group in zip(distances, groups, strict=True) if group != groups[nearest])[:num_next]
    return distances[nearest] / (sum(following) / len(following))
