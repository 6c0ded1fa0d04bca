"""Shared fixtures; shapes in annotations are checked while testing."""

import gc
import os
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

install_import_hook(
    ["segkit.models", "segkit.metrics", "segkit.tasks", "gan"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",  # an int will do for a float
)

gc.disable()  # until all tests are imported: what imports make stays


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but do not search through the modules for it, which are most objects."""
    gc.freeze()
    gc.enable()


REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws without a seed of its own is the same in each run, whatever ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def drive_dir() -> Path:
    """The real DRIVE data set beside the checkout, or at SEGKIT_DRIVE."""
    root = Path(os.environ.get("SEGKIT_DRIVE", REPOSITORY.parent / "shared" / "data" / "DRIVE"))
    if not root.is_dir():
        pytest.skip(f"no DRIVE data set at {root}; set SEGKIT_DRIVE to run this test")
    return root


@pytest.fixture(scope="session")
def em_dir() -> Path:
    """The real ISBI 2012 sections beside the checkout, or at SEGKIT_ISBI2012."""
    root = Path(os.environ.get("SEGKIT_ISBI2012", REPOSITORY.parent / "shared" / "data" / "ISBI2012"))
    if not root.is_dir():
        pytest.skip(f"no ISBI 2012 data set at {root}; set SEGKIT_ISBI2012 to run this test")
    return root
