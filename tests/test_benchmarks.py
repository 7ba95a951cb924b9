"""The benchmarks' own decisions, and that the commands on their pages exist."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"```text\n(.*?)```", re.S)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("engines", ROOT / "benchmarks" / "engines.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "engines", module)  # for its dataclasses
    spec.loader.exec_module(module)
    return module


def test_what_the_time_does_not_allow_is_left_out(engines: Any) -> None:
    """The dearest cells first; what is left goes to more runs and engines, the cheapest first."""
    ours, other, slow = (engines.Way(name, "fp32") for name in ("torch", "openvino", "onnx"))
    rates = {("a", ours): 1.0, ("a", other): 2.0, ("a", slow): 0.1}
    cells = [engines.Cell("a", size, (ours, other)) for size in (12.0, 24.0, 100.0)]
    cost = [cell.cost(rates) for cell in cells]
    assert engines.planned(cells, rates, cost[0] - 1, 3) == []
    assert engines.planned(cells, rates, cost[0] + cost[1] + 1, 3) == cells[:2]
    rich = engines.planned(cells, rates, 1e6, 3)
    assert [cell.rounds for cell in rich] == [3, 3, 1]  # the largest once
    assert all(set(cell.ways) == {ours, other, slow} for cell in rich)
    some = engines.planned(cells[:1], rates, 2 * cost[0], 3)
    assert some[0].rounds > 1 and slow not in some[0].ways
    assert sum(cell.cost(rates) for cell in some) <= 2 * cost[0]


def scripts_on(page: Path) -> set[tuple[str, tuple[str, ...]]]:
    """The scripts that a page has one run, and the options that it gives them."""
    text = "\n".join(FENCE.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.startswith("python benchmarks/")]
    return {
        (words[1], tuple(word for word in words[2:] if word.startswith("--"))) for words in lines
    }


def test_the_scripts_on_the_gpu_page_take_the_options_that_it_gives() -> None:
    found = scripts_on(ROOT / "benchmarks" / "gpu.md")
    assert {script for script, _ in found} >= {"benchmarks/gpu.py", "benchmarks/pack_data.py"}
    for script in sorted({script for script, _ in found}):
        done = subprocess.run(
            [sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        for options in (options for of, options in found if of == script):
            assert all(option in done.stdout for option in options), (script, options)
