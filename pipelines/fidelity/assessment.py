"""Everything that an assessment of a GAN measures, as stored in `fidelity.json`."""

from dataclasses import dataclass

from gan.fidelity.measures import Number
from segkit.metrics.vessel_statistics import Finding

REFERENCE, HELDOUT, DRAWN, SAMPLES = "reference", "heldout", "drawn", "samples"
"""Names of the sets: photographs compared with, photographs the GAN was not trained on, newly generated images, a
pipeline's samples."""


@dataclass(frozen=True)
class Pair:
    """An image and the reference photograph nearest to it, a row of `nearest.csv`."""

    image: str
    nearest: str
    closeness: float
    """The distance over the mean of the next ones; a copy's is below the threshold."""
    distance: float
    """Between their structures: 0 for the same picture, about 1.4 for unrelated ones."""
    transform: str
    """Applied to the photograph to come so near; empty for none."""
    down: int
    """Rows by which it is then moved, in the GAN's pixels."""
    right: int
    """Columns by which it is moved."""


@dataclass(frozen=True)
class Vessels:
    """One vessel statistic of a set, compared with the reference photographs."""

    mean: Number
    p: float | None
    """Of a permutation test of the Wasserstein distance."""
    finding: Finding


@dataclass(frozen=True)
class SetAssessment:
    """Everything measured of one set."""

    title: str
    n: int
    num_groups: int
    """Patients of photographs; of generated images as many as images."""
    num_copies: int
    numbers: dict[str, Number]
    """By measure: "kid", "fid", "precision", "recall" and "copy_share"."""
    vessels: dict[str, Vessels]
    """By statistic; empty without a teacher."""
    pairs: tuple[Pair, ...] = ()
    """Of every image, in order; not stored in `fidelity.json`."""


@dataclass(frozen=True)
class Assessment:
    """Everything measured of a GAN, as stored in `fidelity.json`."""

    reference: str
    """Name of the reference photographs in keys."""
    num_real: int
    num_real_groups: int
    """Patients of the reference photographs."""
    note: str
    """Why these may not be the GAN's training images; empty if its own record names them."""
    features: str
    dimension: int
    k: int
    """Neighbour number of precision and recall."""
    threshold: float
    """Closeness below which an image counts as a copy."""
    num_near_duplicates: int
    """Reference photographs that would count as copies of another patient's."""
    vessels: dict[str, Number]
    """Mean statistics of the reference photographs; empty without a teacher."""
    sets: dict[str, SetAssessment]

    @property
    def generated(self) -> list[SetAssessment]:
        """The sets of generated images."""
        return [images for name, images in self.sets.items() if name != HELDOUT]

    def key(self, set_name: str, measure: str) -> str:
        """Name of a number in logs, as in `kid1k_drive_train20_teacher`: drawn images, reference, features."""
        n = self.sets[set_name].n
        size = f"{n // 1000}k" if n % 1000 == 0 else str(n)
        if measure == "copy_share":
            return f"copy_share{size}_{self.reference}{self.num_real}"
        return f"{measure}{size}_{self.reference}{self.num_real}_{self.features}"
