"""docs/architecture.md names files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_and_folder_that_the_page_names_exists() -> None:
    quoted = set(re.findall(r"`((?:segkit|gan|pipelines)/[\w/.]*)`", PAGE))
    assert len(quoted) > 25
    assert [path for path in sorted(quoted) if not (ROOT / path).exists()] == []


def test_the_page_names_every_folder_of_the_gan() -> None:
    folders = {path.parent.name for path in (ROOT / "gan").glob("*/__init__.py")}
    assert {name for name in folders if f"`{name}`" not in PAGE} == set()
