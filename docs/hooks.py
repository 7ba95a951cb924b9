"""Pages and figures of the site that lie outside docs/, and links that work here and on the site.

Within the repository, pages link to `../benchmarks/speed.png` or `docs/denoise.md`. On the site
everything has one root.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "samples/README.md": "samples.md",
    "benchmarks/training.md": "training-log.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, the figures and the licence."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for figure in sorted((ROOT / "benchmarks").glob("*.png")):
        files.append(File.generated(config, f"benchmarks/{figure.name}", abs_src_path=str(figure)))
    files.append(File.generated(config, "LICENSE", abs_src_path=str(ROOT / "LICENSE")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links as the site needs them."""
    markdown = re.sub(r"\]\((?:\.\./|docs/)", "](", markdown)
    for source, page in PAGES.items():
        markdown = markdown.replace(f"]({source}", f"]({page}")
    return markdown
