"""The reference shows the list of arguments in a docstring as a list.

output:  a folder, or a pattern of
         these fields
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ENTRY = re.compile(r"^([a-z_]+(?:, [a-z_]+)*):\s+(.*)$")


class Arguments(griffe.Extension):
    """Rewrites paragraphs of `name: text` as Markdown lists."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            paragraphs = obj.docstring.value.split("\n\n")
            obj.docstring.value = "\n\n".join(map(as_list, paragraphs))


def as_list(paragraph: str) -> str:
    """The paragraph with a list item for each entry, where it has any."""
    lines: list[str] = []
    for line in paragraph.splitlines():
        entry = ENTRY.match(line)
        if entry:
            if lines and not lines[-1].startswith("- "):
                lines.append("")  # a sentence comes before the list
            names = entry[1].replace(", ", "`, `")
            lines.append(f"- `{names}`: {entry[2]}")
        elif lines and lines[-1].startswith("- ") and line.startswith(" "):
            lines[-1] += " " + line.strip()
        else:
            if lines and lines[-1].startswith("- "):
                lines.append("")
            lines.append(line)
    return "\n".join(lines)
