"""The report's section on the GAN."""

import html
import re
import shutil
from pathlib import Path

import pytest

from pipelines.execution.worker import Context
from pipelines.fidelity import files, text
from pipelines.fidelity.assessment import DRAWN, Assessment
from pipelines.report.sections.fidelity import SHEET_SIDE
from pipelines.stages import report
from segkit.core.files import write_json
from tests.pipelines import fidelity_runs
from tests.pipelines.report_runs import Made, make


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").split())


def section_of(page: str) -> str:
    section = re.search(r'(?s)<section id="fidelity">.*?</section>', page)
    assert section is not None
    return section.group()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two rounds; of each GAN's images two are copies."""
    return make(tmp_path_factory.mktemp("run"), {}, rounds=2, num_test=3)


def with_numbers(run: Made, out: Path, copied: int, **given: int) -> Made:
    """The report again, with other numbers in the first round's folder and none measured in the second's."""
    folders = dict(run.folders)
    for name in ("fidelity", "fidelity-r2"):
        folders[name] = shutil.copytree(run.folders[name], out / f"{name}-0123456789ab")
    fidelity_runs.write(folders["fidelity"], fidelity_runs.assessment_of(copied=copied, **given))
    write_json(folders["fidelity-r2"] / files.NUMBERS, {"not_measured": "2 training photographs, and that is too few"})
    report.run(Context(run.request, folders, out, "f" * 64, True))
    return Made(out, folders, run.request)


def test_every_number_of_the_tables_and_every_sentence_is_on_the_page(run: Made) -> None:
    shown = text_of(section_of(run.page))
    assessment = files.read(run.folders["fidelity"] / files.NUMBERS)
    assert isinstance(assessment, Assessment)
    for sentence in (
        *text.copy_sentences(assessment),
        *text.copy_criterion(assessment),
        *text.vessel_sentences(assessment),
        *text.notes(assessment),
    ):
        assert sentence in shown
    for table in text.tables(assessment):
        assert table.caption in shown
        for name, cells in table.rows:
            assert " ".join([name, *map(text.cell, cells)]) in shown


def test_each_round_has_its_part(run: Made) -> None:
    section = section_of(run.page)
    assert re.findall(r"<h3>(.*?)</h3>", section) == ["fidelity", "fidelity-r2"]
    assert section.count("<img ") == 2


def test_copies_are_an_alarm_and_the_first_caveat(run: Made) -> None:
    assert 'class="verdict worse"' in section_of(run.page)
    caveat = run.verdict["caveats"][0]
    assert "2 of 16" in caveat
    assert "(fidelity)" in caveat
    assert caveat in text_of(run.page)


def test_without_copies_there_is_neither_alarm_nor_caveat(run: Made, tmp_path: Path) -> None:
    made = with_numbers(run, tmp_path, copied=0)
    assert 'class="verdict worse"' not in section_of(made.page)
    assert "0 of 40 (drawn, psi 1)" in text_of(made.page)
    assert not any("Copies" in caveat for caveat in made.verdict["caveats"])


def test_a_stage_that_measured_nothing_has_its_reason_on_the_page(run: Made, tmp_path: Path) -> None:
    made = with_numbers(run, tmp_path, copied=0)
    assert "2 training photographs, and that is too few" in text_of(section_of(made.page))
    assert section_of(made.page).count("<table") == 2


def test_without_held_out_photographs_and_with_few_samples_the_section_still_stands(run: Made, tmp_path: Path) -> None:
    shown = text_of(section_of(with_numbers(run, tmp_path, copied=0, num_heldout=0, num_samples=1).page))
    assert "no held-out photographs" in shown
    assert "Vessels (samples, psi 0.7): too few images" in shown


def test_a_run_that_measured_no_gan_has_no_such_section(tmp_path: Path) -> None:
    made = make(tmp_path, {}, fidelity={"enabled": False}, num_test=3)
    assert 'href="#fidelity"' not in made.page
    assert 'id="fidelity"' not in made.page


def test_the_sheet_is_shown_as_large_as_its_captions_need(run: Made) -> None:
    assert re.search(r'<img [^>]*width="90" height="60"', section_of(run.page))
    assert SHEET_SIDE >= 4 * (2 * files.SIDE + 12)


def test_measures_of_snapshots_are_drawn_over_kimg(run: Made, tmp_path: Path) -> None:
    folders = dict(run.folders)
    folders["fidelity"] = shutil.copytree(run.folders["fidelity"], tmp_path / "fidelity-0123456789ab")
    snapshots = {kimg: fidelity_runs.assessment_of(copied=copied) for kimg, copied in ((0.5, 0), (1.0, 3))}
    files.write_snapshots(folders["fidelity"], snapshots)
    report.run(Context(run.request, folders, tmp_path, "f" * 64, True))
    labels = re.findall(r'aria-label="(\w[^"]*snapshots[^"]*)"', Made(tmp_path, folders, run.request).page)
    assert [label.partition(".")[0] for label in labels] == [
        "KID of snapshots to the photographs",
        "Precision and recall of snapshots",
        "Copies of photographs in snapshots",
    ]  # of the first GAN; the second one's snapshots were not measured
    last = snapshots[1.0].sets[DRAWN]
    assert labels[-1].endswith(f"ends at {last.num_copies / last.n:.4g}")
    assert "snapshots to the photographs" not in run.page
