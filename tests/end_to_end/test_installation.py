"""segkit as it is installed: from a wheel, from a checkout, and in a working folder with any Python files."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.pipelines.tiny import environment, run_segkit

SOURCES = ("segkit", "gan", "pipelines", "configs", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is built from."""
WHERE = "import gan, pipelines, segkit; print(*(module.__file__ for module in (gan, pipelines, segkit)), sep='\\n')"


def make_environment(folder: Path, *installed: Path) -> Path:
    """A virtual environment with these wheels and the packages of this one, but without its segkit."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    if installed:  # before the other packages are there, of which segkit may be one
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*pip, *map(str, installed)], check=True)
    # .pth files in these folders, such as those of editable installations, are not read
    packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    scheme = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    (site / "packages.pth").write_text("\n".join(packages) + "\n")
    return python


def run_in(python: Path, *args: str, cwd: Path, **variables: str) -> str:
    """What `python ...` prints, without the PYTHONPATH of this process."""
    env = {key: value for key, value in environment().items() if not key.startswith("PYTHON")} | variables
    ended = subprocess.run([python, *args], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """Build a `wheel` or an `sdist` with the setuptools of this environment."""
    out.mkdir()
    code = f"import setuptools.build_meta as backend; backend.build_{kind}({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, since building leaves files among them."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """segkit's wheel."""
    try:
        version = metadata.version("setuptools")
    except metadata.PackageNotFoundError:
        version = "0"
    if int(version.partition(".")[0]) < 77:
        pytest.skip(f"building needs setuptools 77 or later; here is {version}: pip install 'setuptools>=77'")
    return build("wheel", source, tmp_path_factory.mktemp("wheel") / "dist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment into which the wheel is installed."""
    return make_environment(tmp_path_factory.mktemp("installed") / "env", wheel)


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_the_settings(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    configs = source / "configs"
    expected = {f"segkit/configs/{path.relative_to(configs).as_posix()}" for path in configs.rglob("*.yaml")}
    for package in ("segkit", "gan", "pipelines"):
        expected |= {path.relative_to(source).as_posix() for path in (source / package).rglob("*") if path.is_file()}
    assert names == expected


@pytest.mark.slow
def test_a_wheel_built_from_the_sdist_holds_the_same(wheel: Path, source: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", source, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build("wheel", unpacked, tmp_path / "wheel")) as again, zipfile.ZipFile(wheel) as first:
        assert sorted(again.namelist()) == sorted(first.namelist())


@pytest.mark.slow
def test_a_wheel_runs_the_demo_draws_phantoms_predicts_and_reports(
    installed: Path, finished_runs: Path, tmp_path: Path
) -> None:
    segkit = str(installed.with_name("segkit"))
    cwd = tmp_path / "empty"
    cwd.mkdir()
    imported = run_in(installed, "-c", WHERE, cwd=cwd).splitlines()
    assert [path for path in imported if not Path(path).is_relative_to(installed.parents[1])] == []

    assert "gan:\n" in run_in(installed, segkit, "pipeline", "show", "synthetic-aug", cwd=cwd)
    plan = run_in(installed, segkit, "pipeline", "run", "synthetic-aug", "-c", "demo", "--dry-run", cwd=cwd)
    assert plan.count("would run") == 11
    run_in(installed, segkit, "data", "phantom", "--out", "drawn", "--train", "2", "--test", "1", cwd=cwd)
    weights = str(next(finished_runs.glob("teacher-*")))
    run_in(installed, segkit, "predict", "--weights", weights, "--out", "mine", "drawn/test/images", cwd=cwd)
    assert len(list((cwd / "mine" / "probs").glob("*.png"))) == 1

    # The stages that are left run as processes of their own, one with a template of the wheel.
    runs = shutil.copytree(finished_runs, cwd / "runs")
    shutil.rmtree(next(runs.glob("report-*")))
    config = str(finished_runs.parent / "tiny.yaml")
    run_in(installed, segkit, "pipeline", "run", "synthetic-aug", "-c", config, cwd=cwd)
    report = run_in(installed, segkit, "report", "runs", cwd=cwd).strip()
    assert (cwd / report).read_text().lstrip().lower().startswith("<!doctype html>")


@pytest.mark.slow
def test_a_checkout_runs_without_being_installed(source: Path, config: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    args = ("-m", "segkit", "pipeline", "run", "synthetic-aug", "-c", str(config), "--upto", "data")
    runs = ("--runs", str(tmp_path / "runs"))
    run_in(python, *args, *runs, cwd=source)
    assert len(list((tmp_path / "runs").glob("data-*/done.json"))) == 1
    said = run_in(python, *args, *runs, cwd=tmp_path, PYTHONPATH=str(source))
    assert said.startswith("[1/1] data: done")


def test_first_weights_are_checked_without_the_working_folder(foreign: Path, config: Path) -> None:
    (foreign / "weights.pkl").write_bytes(b"not a pickle")
    args = ("-c", str(config), "--set", "gan.init_from=weights.pkl", "--dry-run")
    ended = run_segkit("pipeline", "run", "synthetic-aug", *args, cwd=foreign)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: cannot read weights.pkl ")
