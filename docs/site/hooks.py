"""Add the pages that lie outside docs/ to the site, and rewrite the links between them and the pages inside."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "third_party/README.md": "third_party.md"}
"""Pages outside docs/ by their path in the repository, and their names on the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/; a hook of mkdocs."""
    for path, name in PAGES.items():
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=site_links(text, Path(path).parent)))
    return files


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """Rewrite the links of a page; a hook of mkdocs."""
    return site_links(markdown, Path("docs"))


def site_links(text: str, folder: Path) -> str:
    """The text of a page of this folder with links as the site needs them; links to files off the site become text."""

    def replace(link: re.Match[str]) -> str:
        label, target, anchor = link.groups()
        path = (REPOSITORY / folder / target).resolve().relative_to(REPOSITORY)
        if str(path) in PAGES:
            return f"[{label}]({PAGES[str(path)]}{anchor})"
        if path.parts[0] == "docs":
            return f"[{label}]({path.relative_to('docs')}{anchor})"
        return label

    return re.sub(r"\[([^]]*)\]\(([^)#:]+)(#[^)]*|)\)", replace, text)
