"""Help pages: options in groups, values in words, no names of Python types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from restore.cli import app


def commands() -> Iterator[tuple[str, ...]]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if not hasattr(command, "commands"):
            yield path
            return
        for name, child in command.commands.items():
            yield from walk(child, (*path, name))

    yield from walk(typer.main.get_command(app), ())


def help_of(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_no_python_types_are_shown(words: tuple[str, ...]) -> None:
    page = help_of(*words)
    assert not re.search(r"<(int|float|str|bool|path|list)\b|\b(INTEGER|FLOAT)\b|x>=", page)
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_each_page_ends_with_examples_and_names_arguments_in_capitals(
    words: tuple[str, ...],
) -> None:
    page = help_of(*words)
    assert f"restore {' '.join(words)} " in page.split("Examples:")[1]
    usage = page.split("Usage:")[1].splitlines()[0]
    assert usage.count("{") == len(re.findall(r"\{[A-Z]+\}", usage))


def test_defaults_that_are_lists_are_shown() -> None:
    page = " ".join(re.findall(r"[\w:,\[\]()]+", help_of("evaluate")))
    assert "[default: (gaussian:15, gaussian:25, gaussian:50)]" in page


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        ("autoencoder train", ["Data", "Model", "Training", "Output"]),
        ("anomaly fit", ["Data", "Model", "Training", "Output"]),
        ("evaluate", ["Test set", "Model", "Output"]),
        ("train", ["Data", "Training", "Output"]),
    ],
)
def test_options_stand_in_groups(words: str, groups: list[str]) -> None:
    titles = re.findall(r"^╭─ ([\w ]+?) ─", help_of(*words.split()), re.MULTILINE)
    assert [title for title in titles if title in groups] == groups


@pytest.mark.parametrize("group", ["autoencoder", "anomaly"])
def test_each_command_has_a_line_that_is_not_cut(group: str) -> None:
    page = help_of(group)
    assert "─ Commands ─" in page and "..." not in page.split("─ Commands ─")[1]


def test_evaluate_names_what_it_can_replace() -> None:
    page = help_of("evaluate")
    assert "Replace a report that" in page and "sheet" not in page
