"""`fidelity`: how good the GAN's images are by the teacher's features, and whether they are copies of photographs."""

from pathlib import Path

from gan.drawing.sampling import read_generator
from gan.fidelity.copies import MIN_TRAINING_IMAGES
from gan.training.snapshots import find_snapshots
from pipelines.execution.worker import Context
from pipelines.fidelity import files, text
from pipelines.fidelity.assess import Evaluation, check_copies, generated_set
from pipelines.fidelity.assessment import SAMPLES
from pipelines.fidelity.features import ImageSet, set_of_files
from pipelines.fidelity.photographs import Photographs, of_data_stage
from pipelines.results.final_numbers import fidelity_numbers
from pipelines.stage import StageRecord, read_record
from pipelines.stage_types import FidelitySettings
from segkit.core.errors import RequestError
from segkit.core.files import write_json
from segkit.core.manifest import read_manifest
from segkit.core.wording import counted_images


def run(context: Context[FidelitySettings]) -> None:
    """Write the numbers as JSON, CSV and text, `nearest.csv` and `nearest.png`; with `snapshots` the curves.

    Raises:
        TooManyCopiesError: the share of copies is larger than `max_copy_share`.
    """
    settings = context.settings
    photographs = of_data_stage(context.inputs["data"])
    if photographs.num_training_groups < MIN_TRAINING_IMAGES:
        _skip(context, photographs)
        return
    gan, generator = read_generator(context.inputs["gan"])
    sets = [
        generated_set(settings.first_seed, settings.num_images, settings.truncation_psi),
        _samples(context.inputs["samples"]),
    ]
    teacher, name = context.inputs["teacher"], context.name
    evaluation = Evaluation(photographs, teacher, gan, context.runtime, context.work, name, settings.k)
    assessment = evaluation.assess(generator, sets)
    folders = find_snapshots(context.inputs["gan"], gan) if settings.snapshots else {}
    curve = {kimg: evaluation.assess(read_generator(path)[1], sets[:1], path.name) for kimg, path in folders.items()}
    if not context.first_rank:
        return
    squares = evaluation.squares(generator, sets)
    sheet = files.nearest_sheet(assessment, settings.num_pairs, squares, evaluation.copies)
    files.write(context.out, assessment, sheet)
    if curve:
        files.write_snapshots(context.out, curve)
    context.tracker.summary(fidelity_numbers(context.out / files.TABLE))
    context.tracker.images("gan/nearest-photographs", {"each beside the photograph it is nearest to": sheet})
    print(text.as_text(text.measures_table(assessment)) + "\n")
    print("\n".join([*text.copy_sentences(assessment), *text.copy_criterion(assessment)]))
    check_copies(assessment, settings.max_copy_share, f"see {context.out / files.SHEET}, and train the GAN for less")


def _samples(folder: Path) -> ImageSet:
    """The samples that are labelled."""
    psi = (read_record(folder) or StageRecord()).get("settings", {}).get("truncation_psi")
    title = "samples" if psi is None else f"samples, psi {psi:g}"
    return set_of_files(SAMPLES, title, [row.image.path for row in read_manifest(folder).rows])


def _skip(context: Context[FidelitySettings], photographs: Photographs) -> None:
    """Record that there are too few photographs; fail if a limit on copies is set."""
    settings = context.settings
    available = counted_images(len(photographs.training), photographs.num_training_groups, "training photograph")
    reason = f"only {available}, at least {MIN_TRAINING_IMAGES} are needed"
    if settings.max_copy_share is not None:
        raise RequestError(f"cannot measure copies: {reason}; remove fidelity.max_copy_share to skip the check")
    if context.first_rank:
        write_json(context.out / files.NUMBERS, {"not_measured": reason})
        print(f"{context.name}: not measured, {reason}")
