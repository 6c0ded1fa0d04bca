"""`fidelity`: how good the GAN's fundi are, seen through the teacher, and whether they are copies of photographs."""

from pathlib import Path

from gan.fidelity.copies import MIN_TRAINING_IMAGES
from gan.sampling import read_generator
from pipelines.context import Context
from pipelines.fidelity import records, words
from pipelines.fidelity.assessment import SAMPLES, as_json, check_copies, with_doubt
from pipelines.fidelity.evaluation import Evaluation, SubjectSet, drawn_set
from pipelines.fidelity.observation import of_files
from pipelines.fidelity.photographs import Photographs, of_data_stage
from pipelines.settings import FidelitySettings
from pipelines.store import read_done
from segkit.core.errors import RequestError
from segkit.core.files import write_json
from segkit.core.manifest import read_manifest
from segkit.core.wording import counted


def run(context: Context) -> None:
    """Write the numbers as JSON, CSV and text, `nearest.csv` and `nearest.png`.

    Raises:
        TooManyCopiesError: more of what was drawn are copies than `max_copy_share` allows.
    """
    settings: FidelitySettings = context.settings
    photographs = of_data_stage(context.inputs["data"])
    if photographs.num_training_groups < MIN_TRAINING_IMAGES:
        _leave_out(context, photographs)
        return
    gan, generator = read_generator(context.inputs["gan"])
    sets = [
        drawn_set(settings.first_seed, settings.num_images, settings.truncation_psi),
        _samples(context.inputs["samples"]),
    ]
    teacher, name = context.inputs["teacher"], context.request.name
    evaluation = Evaluation(photographs, teacher, gan, context.runtime, context.work, name, settings.k)
    assessment = with_doubt(evaluation.assess(generator, sets), settings.max_copy_share)
    if not context.first_rank:
        return
    records.write(context.out, assessment)
    sheet = evaluation.sheet(assessment, generator, sets, settings.num_pairs)
    records.write_sheet(context.out, sheet)
    for each in assessment.sets:
        context.tracker.summary({f"{each.name}/{key}": value for key, value in assessment.numbers(each.name).items()})
    context.tracker.images("gan/nearest-photographs", {"each beside the photograph it is nearest to": sheet})
    found = as_json(assessment)
    print(
        "\n".join([words.render(words.measures_table(found)), "", *words.copy_verdict(found), *words.copy_basis(found)])
    )
    for note in assessment.notes:
        print(f"note: {note}")
    check_copies(assessment, settings.max_copy_share, f"see {context.out / records.SHEET}, and train the GAN for less")


def _samples(folder: Path) -> SubjectSet:
    """The samples as they are labelled."""
    psi = (read_done(folder) or {}).get("settings", {}).get("truncation_psi")
    title = "samples" if psi is None else f"samples, psi {psi:g}"
    return SubjectSet(SAMPLES, title, of_files([row.image.path for row in read_manifest(folder).rows]))


def _leave_out(context: Context, photographs: Photographs) -> None:
    """So few photographs are no basis: say so, unless the pipeline hangs on it."""
    settings: FidelitySettings = context.settings
    patients = photographs.num_training_groups
    whose = f" of {counted(patients, 'patient')}" if patients < len(photographs.training) else ""
    reason = (
        f"{len(photographs.training)} training photographs{whose}, and nothing can be measured against fewer than "
        f"{MIN_TRAINING_IMAGES}"
    )
    if settings.max_copy_share is not None:
        raise RequestError(f"there are {reason}; without fidelity.max_copy_share the pipeline goes on all the same")
    if context.first_rank:
        write_json(context.out / records.NUMBERS, {"not_measured": reason})
        print(f"{context.request.name}: not measured, there are {reason}")
