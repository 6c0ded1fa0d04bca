"""The whole page, made from folders such as a run leaves."""

import csv
import html
import itertools
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipelines.execution.worker import Context
from pipelines.report import page, shown_images
from pipelines.results.measurements import read_measurements
from pipelines.results.scored_runs import Run, load_run, values_by_image
from pipelines.stages import report
from segkit.cli.recipes import resolve
from segkit.core.manifest import read_manifest
from tests.configs.commands import parse
from tests.pipelines.report_runs import Made, make, make_single

SECTIONS = list(page.SECTIONS)
ABSENT = {
    "labelled": {"models"},  # it compares no networks
    "official": {"models", "training"},  # it has no curves
    "bare": {"models", "pictures", "inspector"},  # none are requested
    "single": {"models", "gan", "fidelity"},
}
"""Sections without content, by run."""


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Seven labelled test images, a second observer, a student better than its control."""
    noise = {"student": 0.25, "student-control": 0.35, "ensemble": 0.2}
    return make(tmp_path_factory.mktemp("labelled"), noise, observer2=True)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """As DRIVE's official download: test images without labels, four held out; two rounds, no curves."""
    return make(
        tmp_path_factory.mktemp("official"),
        {"one": 0.1, "one-control": 0.4, "ensemble": 0.2},
        num_test=2,
        test_labels=False,
        num_holdout=4,
        curves=False,
        rounds=2,
        students={"one": {"phases": [{"data": "mixed", "epochs": 1}]}},
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """No test images, no held-out ones, no control, nothing to be shown."""
    report = {"num_samples": 0, "num_overlays": 0}
    return make(tmp_path_factory.mktemp("bare"), {}, num_test=0, control={"enabled": False}, report=report)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One network: no GAN, no control, no ensemble."""
    return make_single(tmp_path_factory.mktemp("single"))


def test_where_patients_have_several_images_the_page_gives_both_numbers_and_intervals_are_over_patients(
    tmp_path: Path,
) -> None:
    made = make_single(tmp_path, num_test=6, images_per_patient=2)
    captions = re.findall(r"<caption><span>(.*?)</span>", made.page)
    assert any("6 test images of 3 patients" in caption and "over patients" in caption for caption in captions)
    assert "11 phantoms of 6 patients" in made.page
    assert made.verdict["basis"] | {"why": ""} == {"split": "test", "n": 6, "num_groups": 3, "why": ""}
    assert "n\u00a0=\u00a06 test images of 3 patients" in made.page


@pytest.fixture(params=list(ABSENT))
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found


class Elements(HTMLParser):
    """Every element with its attributes; what is left open at the end."""

    VOID = frozenset({"meta", "img", "br", "link", "line", "rect", "path", "use", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script).*?</\1>", " ", page))).split())


def test_the_report_is_three_files(made: Made) -> None:
    assert sorted(path.name for path in made.out.iterdir()) == ["comparisons.json", "report.html", "verdict.json"]
    assert len(made.page) < 10_000_000


def test_the_page_is_well_formed_and_begins_with_the_verdict(made: Made) -> None:
    elements = Elements(made.page)
    assert elements.open == []
    assert made.page.startswith("<!doctype html>")
    headline = re.search(r'<p class="headline">(.*?)</p>', made.page)
    assert headline is not None
    assert html.unescape(headline.group(1)).replace("\u00a0", " ") == made.verdict["headline"]
    assert headline.start() < made.page.index('id="results"')


@pytest.mark.parametrize(("name", "absent"), ABSENT.items())
def test_a_section_is_on_the_page_and_in_its_contents_only_with_content(
    name: str, absent: set[str], request: pytest.FixtureRequest
) -> None:
    elements = Elements(request.getfixturevalue(name).page)
    present = [section for section in SECTIONS if section not in absent]
    assert [section.get("id") for section in elements.named("section")] == present
    assert [link["href"] for link in elements.named("a")] == [f"#{section}" for section in present]


def test_every_section_has_a_template_of_its_name() -> None:
    folder = Path(page.__file__).parent / "sections"
    assert {path.name for path in folder.glob("*.j2")} == {f"{name}.html.j2" for name in [*SECTIONS, "verdict"]}


def test_a_run_of_one_network_has_its_own_result_as_headline(single: Made) -> None:
    measured = json.loads((single.folders["evaluate"] / "measurements.json").read_text())["test"]["model"]
    dice = next(m for m in measured if (m["metric"], m["region"], m["averaging"]) == ("dice", "fov", "pooled"))
    assert f"{dice['value']:.4f}, 95 % interval [{dice['low']:.4f}, {dice['high']:.4f}]" in single.verdict["headline"]
    assert single.verdict["outcome"] == "none"
    assert single.comparisons == []
    assert not re.search("teacher|synthetic (image|fund)|control", text_of(single.page))


def test_every_class_has_its_tables(single: Made, tmp_path: Path) -> None:
    evaluation = shutil.copytree(single.folders["evaluate"], tmp_path / "evaluate-0123456789ab")
    raw = json.loads((evaluation / "measurements.json").read_text())
    for runs in raw.values():
        runs["model"] += [m | {"class_name": "disc", "value": 0.1234, "low": 0.1, "high": 0.2} for m in runs["model"]]
    (evaluation / "measurements.json").write_text(json.dumps(raw))
    folders = single.folders | {"evaluate": evaluation}
    report.run(Context(single.request, dict(folders), tmp_path, "f" * 64, True))
    shown = text_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "7 test images, class vessel: pixels" in shown
    assert re.search(r"7 test images, class disc: pixels .{0,300} model 0.1234 \[0.1000, 0.2000\]", shown)
    assert "class disc | region fov | pooled" in shown


def test_nothing_is_loaded_from_elsewhere(made: Made) -> None:
    for tag, attributes in Elements(made.page).found:
        assert tag not in {"link", "iframe", "object", "embed"}
        for key in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:image/"))
    assert "url(http" not in made.page
    assert "@import" not in made.page


def test_who_cannot_see_pictures_is_told_what_they_show(made: Made) -> None:
    elements = Elements(made.page)
    shown = [each for each in elements.named("img") if "src" in each]
    assert all(each["alt"] for each in shown)
    drawn = [each for each in elements.named("svg") if "aria-hidden" not in each]
    assert drawn
    assert all(each["role"] == "img" and each["aria-label"] for each in drawn)


def test_tables_have_captions_and_headed_rows_and_columns(made: Made) -> None:
    elements = Elements(made.page)
    assert len(elements.named("caption")) == len(elements.named("table"))
    assert all(each.get("scope") in {"row", "col", "rowgroup"} for each in elements.named("th"))


def test_no_id_occurs_twice(made: Made) -> None:
    ids = [attributes["id"] for _, attributes in Elements(made.page).found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_headings_do_not_skip_a_level(made: Made) -> None:
    levels = [int(tag[1]) for tag, _ in Elements(made.page).found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def report_again(made: Made, out: Path) -> None:
    report.run(Context(made.request, made.folders, out, "f" * 64, True))


def test_the_same_folders_give_the_same_report(labelled: Made, tmp_path: Path) -> None:
    report_again(labelled, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (labelled.out / "report.html").read_bytes()


def test_a_better_student_on_enough_images_helped(labelled: Made) -> None:
    verdict = labelled.verdict
    assert verdict["outcome"] == "helped"
    assert verdict["basis"]["split"] == "test"
    assert verdict["headline"].startswith("Synthetic images helped student: Dice +")
    [student] = verdict["students"]
    assert student["comparison"]["low"] > 0
    assert student["sign_flip_p"] == pytest.approx(2 / 2**7)
    assert any("phantoms" in caveat for caveat in verdict["caveats"])


def test_the_tables_hold_what_was_measured(labelled: Made) -> None:
    measured = json.loads((labelled.folders["evaluate"] / "measurements.json").read_text())["test"]
    shown = text_of(labelled.page)
    for name in ("teacher", "student", "student-control", "ensemble", "second observer"):
        dice = next(
            m for m in measured[name] if (m["metric"], m["region"], m["averaging"]) == ("dice", "fov", "pooled")
        )
        cell = f"{dice['value']:.4f} [{dice['low']:.4f}, {dice['high']:.4f}]"
        assert f"{name} {cell}" in shown


def test_the_verdicts_difference_is_that_of_the_table(labelled: Made) -> None:
    measured = json.loads((labelled.folders["evaluate"] / "measurements.json").read_text())["test"]
    dice = {
        name: next(m["value"] for m in ms if (m["metric"], m["region"], m["averaging"]) == ("dice", "fov", "pooled"))
        for name, ms in measured.items()
    }
    [student] = labelled.verdict["students"]
    assert student["comparison"]["difference"] == pytest.approx(dice["student"] - dice["student-control"])
    first = labelled.comparisons[0]
    assert (first["a"], first["b"], first["split"]) == ("student", "student-control", "test")
    assert first["difference"] == student["comparison"]["difference"]


def test_overlays_go_from_the_worst_to_the_best_image(labelled: Made) -> None:
    shown = text_of(labelled.page)
    found = re.search(r"worst image is (\S+) \(([\d.]+)\), its best (\S+) \(([\d.]+)\)", shown)
    assert found is not None
    assert float(found.group(2)) < float(found.group(4))
    scores = [float(score) for score in re.findall(r'overlay of ensemble, Dice ([\d.]+)"', labelled.page)]
    assert len(scores) == 3
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (float(found.group(2)), float(found.group(4)))


def test_an_overlay_shows_the_map_whose_dice_stands_below_it(
    labelled: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def overlay(image: np.ndarray, prediction: np.ndarray, vessels: np.ndarray, fov: np.ndarray) -> np.ndarray:
        found, truth = prediction[fov], vessels[fov]
        shown.append(f"{2 * (found & truth).sum() / (found.sum() + truth.sum()):.4f}")
        return image

    monkeypatch.setattr(shown_images, "overlay", overlay)
    report_again(labelled, tmp_path)
    captions = re.findall(r'overlay of [^"]+, Dice ([\d.]+)"', labelled.page)
    assert len(captions) == 3 * 4  # images times models
    assert shown == captions * 2  # also as thumbnails


def test_samples_stand_beside_their_pseudo_labels(labelled: Made) -> None:
    assert "The first 3 of 5 by seed" in text_of(labelled.page)
    for seed in range(3):
        assert f'alt="Synthetic image seed{seed:04d}"' in labelled.page
        assert f'alt="Pseudo-label of seed{seed:04d}"' in labelled.page
    assert "seed0003" not in labelled.page
    shown = re.findall(r'alt="Grid of samples of gan ([^"]+)"', labelled.page)
    assert shown == ["before training", "after 0.4 kimg", "after 0.8 kimg", "after 12 kimg"]


def test_where_it_came_from_is_said(labelled: Made) -> None:
    shown = text_of(labelled.page)
    assert "0123456789abcdef0123456789abcdef01234567, with uncommitted changes" in shown
    assert "torch 2.13.0" in shown
    assert "1 min 23 s" in shown
    assert "truncation_psi: 0.7" in labelled.page
    for split in ("train", "val", "test"):
        names = [row.name for row in read_manifest(labelled.folders["data"]).split(split).rows]  # type: ignore[arg-type]
        assert ", ".join(names) in shown


def test_the_saved_settings_and_the_command_repeat_the_run(single: Made, tmp_path: Path) -> None:
    text = re.search(r'id="settings">(.*?)</pre>', single.page, re.DOTALL)
    command = re.search(r'aria-label="Command that repeats the run">(.*?)</pre>', single.page)
    assert text is not None
    assert command is not None
    (tmp_path / "settings.yaml").write_text(html.unescape(text.group(1)), encoding="utf-8")
    _, params = parse(command.group(1))
    assert (params["name"], params["data"]) == ("train", "drive:DIR")
    again = resolve("train", tmp_path / str(params["config"]), (), str(params["data"]))
    request = again.graph["report"].settings
    assert request.pipeline == single.request.settings.pipeline  # type: ignore[attr-defined]


def test_settings_that_differ_from_the_defaults_are_listed_with_both_values(single: Made) -> None:
    shown = text_of(single.page)
    assert "evaluate.num_resamples 2000 100" in shown
    assert "report.num_overlays 4 3" in shown
    assert "evaluate.inference.tta" not in shown.partition("How to reproduce")[0]


def test_the_recommended_model_is_the_best_on_validation_and_its_command_can_be_typed(labelled: Made) -> None:
    measured = json.loads((labelled.folders["evaluate"] / "measurements.json").read_text())["val"]
    dice = {
        name: next(m["value"] for m in ms if (m["metric"], m["region"], m["averaging"]) == ("dice", "fov", "pooled"))
        for name, ms in measured.items()
    }
    best = max(dice, key=lambda name: dice[name])
    command = re.search(r'aria-label="Command">(.*?)</pre>', labelled.page)
    assert command is not None
    names, params = parse(command.group(1))
    assert names == ["predict"]
    assert params["weights"] == f"runs/{labelled.folders[best].name}"
    assert f"{best} . It has the highest Dice on the validation images" in text_of(labelled.page)


def test_the_quality_of_the_gan_stands_beside_the_verdict(labelled: Made, single: Made) -> None:
    head = text_of(labelled.page.partition("<nav")[0])
    assert "differ clearly from held-out photographs: KID" in head
    assert "KID" not in text_of(single.page)


def test_four_held_out_images_bear_no_claim_however_clear(official: Made) -> None:
    verdict = official.verdict
    assert verdict["basis"]["split"] == "holdout"
    assert "2 test images have no labels" in verdict["basis"]["why"]
    assert {each["outcome"] for each in verdict["students"]} == {"too-few-images"}
    assert verdict["students"][0]["comparison"]["low"] > 0
    assert "helped 0 and made 0 worse" in verdict["headline"]


def test_every_round_is_reported(official: Made) -> None:
    shown = text_of(official.page)
    assert [each["student"] for each in official.verdict["students"]] == ["one", "one-r2"]
    for name in ("gan-r2", "pseudo-labels-r2", "select-r2"):
        assert name in shown


def test_unlabelled_test_images_are_shown_with_their_probabilities(official: Made) -> None:
    assert 'alt="Prediction of test image 01_test by the ensemble"' in official.page
    assert "2 of 2, the photograph beside the prediction of the ensemble" in text_of(official.page)


def test_without_a_control_the_report_says_that_there_is_no_verdict(bare: Made) -> None:
    assert bare.verdict["headline"].startswith("No verdict: no control")
    assert bare.verdict["students"] == []
    assert bare.verdict["basis"]["split"] == "val"
    assert any("optimistic" in caveat for caveat in bare.verdict["caveats"])


# in a browser ---------------------------------------------------------------------------------------------------------

PROBE = """
<!doctype html><body><pre id="found"></pre><script>
const frame = document.createElement("iframe");
frame.style.cssText = "border: 0; height: 800px; width: WIDTHpx";
frame.addEventListener("load", () => {
  const page = frame.contentDocument, view = frame.contentWindow;
  page.querySelectorAll("details").forEach((each) => { each.open = true; });
  page.querySelector(".zoom")?.click();
  document.getElementById("found").textContent = JSON.stringify({
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    loaded: view.performance.getEntriesByType("resource").map((each) => each.name).filter((url) => !/^data:/.test(url)),
    broken: [...page.images].filter((each) => each.getAttribute("src") && !each.naturalWidth).length,
    enlarged: page.querySelector("dialog").open,
    unset: [...page.querySelectorAll("svg.chart path")].length === 0,
  });
});
frame.srcdoc = PAGE;
document.body.append(frame);
</script>
"""


@pytest.fixture(scope="module")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium or Chrome on the path")


def browse(chromium: str, page: Path, tmp_path: Path) -> str:
    """Open a file without a window; the text that its script leaves in `#found`. Console messages are errors."""
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-quic",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--virtual-time-budget=10000",
        "--window-size=1300,900",
        "--dump-dom",
    ]
    done = subprocess.run([chromium, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    return html.unescape(found.group(1))


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_whole_and_loads_nothing(made: Made, chromium: str, tmp_path: Path, width: int) -> None:
    page = json.dumps(made.page).replace("</", "<\\/")
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.replace("WIDTH", str(width)).replace("PAGE", page, 1), encoding="utf-8")
    assert json.loads(browse(chromium, probe, tmp_path)) == {
        "overflow": 0,
        "loaded": [],
        "broken": 0,
        "enlarged": 'class="zoom"' in made.page,
        "unset": False,
    }


INTERACTION = """
<script>
(async () => {
  const found = {}, one = (selector) => document.querySelector(selector), sheet = one("#image-table");
  const visible = () => [...sheet.tBodies[0].rows].filter((row) => !row.hidden);
  const column = (name) => [...sheet.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith(name));
  const values = () => visible().map((row) => row.cells[column("Dice")].textContent);
  const set = (element, value, event) => { element.value = value; element.dispatchEvent(new Event(event)); };
  const settled = (image) => new Promise((done) => { const wait = () =>
    one(".inspector").dataset.ready === image ? setTimeout(done, 50) : setTimeout(wait, 10); wait(); });
  const sides = () => ["left", "right"].map((side) => one(`[data-side=${side}]`).textContent);
  const inked = () => {
    const c = one(".inspector canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
    let sum = 0; for (let i = 0; i < d.length; i += 4) sum += d[i] === 255 ? 1 : 0; return sum; };

  found.models = [...new Set(visible().map((row) => row.cells[1].textContent))];
  const button = sheet.tHead.rows[0].cells[column("Dice")].querySelector("button");
  button.click(); found.ascending = values();
  button.click(); found.descending = values();
  set(one("[data-filter]"), "", "change"); found.all = visible().length;
  let saved;
  URL.createObjectURL = (blob) => { saved = blob; return "#"; };
  one("[data-csv]").click(); found.csv = await saved.text();

  const image = one("[name=image]").value;
  await settled(image);
  found.own = sides();
  set(one("[name=show]"), "prediction", "change"); await new Promise((done) => setTimeout(done, 100));
  found.positive = []; set(one("[name=boundary]"), 0, "input");
  for (const threshold of [0, 0.5, 1]) {
    set(one("[name=threshold]"), threshold, "input"); await new Promise((done) => setTimeout(done, 100));
    found.positive.push(inked());
  }
  found.at_one = sides();
  set(one("[name=left]"), "the labels", "change"); set(one("[name=boundary]"), 0, "input");
  await new Promise((done) => setTimeout(done, 100)); const right = inked();
  set(one("[name=boundary]"), 100, "input"); found.wiped = [right, inked()];
  const other = [...document.querySelectorAll("button.inspect")].find((each) => each.dataset.image !== image);
  other.click(); await settled(other.dataset.image);
  found.opened = sides()[1].startsWith("Right: " + other.dataset.model);

  const zooms = document.querySelectorAll(".zoom"), dialog = one("dialog"), key = (name) =>
    dialog.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  zooms[0].click(); const first = dialog.querySelector("p").textContent;
  key("ArrowRight"); const second = dialog.querySelector("p").textContent;
  key("ArrowLeft"); found.zoom = [dialog.open, first !== second, dialog.querySelector("p").textContent === first];
  dialog.querySelector("form button").click(); found.closed = !dialog.open;
  const pre = document.createElement("pre"); pre.id = "found"; pre.textContent = JSON.stringify(found);
  document.body.append(pre);
})();
</script></body>
"""
"""Works through the page as a user would, and leaves the results in it."""


@pytest.mark.slow
def test_from_disk_tables_sort_and_the_sliders_and_the_zoom_work(labelled: Made, chromium: str, tmp_path: Path) -> None:
    probe = tmp_path / "report.html"
    probe.write_text(labelled.page.replace("</body>", INTERACTION), encoding="utf-8")
    found = json.loads(browse(chromium, probe, tmp_path))
    measured = {name: values_by_image(run, "dice") for name, run in runs_of(labelled).items()}
    dice = [f"{value:.4f}" for value in measured["ensemble"].values()]
    assert found["models"] == ["ensemble"]
    assert found["ascending"] == sorted(dice)
    assert found["descending"] == sorted(dice, reverse=True)
    rows = list(csv.DictReader(found["csv"].splitlines()))
    assert found["all"] == len(rows) == 7 * 5
    assert {(row["Model"], row["Image"]): float(row["Dice (F1)"]) for row in rows} == pytest.approx(
        {(model, image): value for model, values in measured.items() for image, value in values.items()}
    )
    worst = min(measured["ensemble"], key=lambda name: measured["ensemble"][name])
    for text, model in zip(found["own"], ("teacher", "ensemble"), strict=True):
        shown = re.search(rf"{model} at threshold 0.400: Dice ([\d.]+)", text)
        assert shown is not None, text
        assert float(shown.group(1)) == pytest.approx(measured[model][worst], abs=0.01)  # 256 levels
    most, some, none = found["positive"]
    assert most > some > none
    assert all("at threshold 1.000" in text for text in found["at_one"])
    assert found["wiped"][0] == none
    assert found["wiped"][1] > 0  # the labels
    assert found["opened"]
    assert found["zoom"] == [True, True, True]
    assert found["closed"]


def runs_of(made: Made) -> dict[str, Run]:
    evaluation = made.folders["evaluate"]
    return {
        name: load_run(name, evaluation, "test", measurements)
        for name, measurements in read_measurements(evaluation)["test"].items()
    }
