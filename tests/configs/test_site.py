"""The site of the pages in docs/: `make docs` builds it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site" / "mkdocs.yml"
OUTSIDE = {"index.md": "README.md", "third_party.md": "third_party/README.md"}


def test_the_navigation_names_every_page_once() -> None:
    nav = yaml.safe_load(SITE.read_text(encoding="utf-8"))["nav"]
    named = re.findall(r"[\w-]+\.md", str(nav))
    assert sorted(named) == sorted([*OUTSIDE, *(page.name for page in (ROOT / "docs").glob("*.md"))])


def test_every_anchor_in_a_link_is_a_heading_of_its_page() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for name, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            text = (page.parent / name if name else page).read_text(encoding="utf-8")
            headings = [re.sub(r"[^\w\- ]", "", line.lower()).strip() for line in re.findall(r"^#+ (.*)$", text, re.M)]
            assert anchor in {heading.replace(" ", "-") for heading in headings}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="needs mkdocs-material, the extra `docs`")
def test_the_site_builds_without_warnings_and_requests_nothing_from_other_hosts(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(SITE), "-d", str(tmp_path)]
    ended = subprocess.run(
        build, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert ended.returncode == 0, ended.stderr
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "figures/phantom.jpg" in start
    assert "<td>SkelCon</td>" in start
    loaded = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"?(https?://[^\s\">]+)", start)
    assert loaded == []
