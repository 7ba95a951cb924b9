"""The report and its slider in a real browser: they work, and nothing that is told runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore.evaluation import report as report_module
from restore.evaluation.report import Report
from restore.image.picture import Picture
from restore.tasks.noise_level import white
from restore.view.pair import Pair

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium (apt install chromium)")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-sync",
    "--window-size=1000,800",
    "--virtual-time-budget=6000",
    "--dump-dom",
]
# Runs in the page, whose own policy allows only the page's own script: it is taken out before.
ASK = """<script>setTimeout(async () => {
  const find = selector => document.querySelector(selector), seen = {};
  const pause = () => new Promise(done => setTimeout(done, 200));
  try { %s } catch (error) { seen.error = String(error.stack); }
  seen.hacked = typeof hacked;
  document.documentElement.innerHTML = "<body><pre></pre>";
  find("pre").textContent = JSON.stringify(seen);
}, 300);</script>"""


def ask(page: str, script: str, folder: Path) -> dict[str, Any]:
    """Open a page, run a script in it, and return what it has put into `seen`."""
    page, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert count == 1
    place = folder / "page.html"
    place.write_text(page.replace("</body>", ASK % script + "</body>"), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'profile'}", place.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    answer = re.findall(r"<pre>(.*?)</pre>", done.stdout, re.S)
    assert answer, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(unescape(answer[0]))
    assert "error" not in seen, seen["error"]
    return seen


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.setattr(report_module, "estimate_noise", lambda pixels: white(9.0))
    made = Report("several", 3)
    rng = np.random.default_rng(0)
    before = Picture(rng.random((900, 1500, 1), np.float32) / 2)
    for name, change in (("b10.png", 0.1), ("b9.png", 0.3)):
        made.add(Pair(name, before, Picture(before.pixels + np.float32(change)), before))
    made.add_failure("<img src=x onerror='hacked = 1'>", "broken")
    return made


def test_the_overview_sorts_searches_and_opens_a_picture(report: Report, tmp_path: Path) -> None:
    seen = ask(
        report.to_html(),
        """
        const names = () => [...document.querySelectorAll("#overview tbody tr")]
          .filter(row => !row.hidden).map(row => row.querySelector("a").textContent);
        seen.first = names();
        // an image, or what becomes one when the browser draws the page; when, nobody knows
        const thumbnails = ".thumbnail > img, .thumbnail > template";
        seen.thumbnails = document.querySelectorAll(thumbnails).length;
        find("[data-key=change] button").click(); seen.least = names();
        find("[data-key=name] button").click(); seen.byName = names();
        find("#search").value = "PNG b1"; find("#search").dispatchEvent(new Event("input"));
        seen.searched = names(); seen.count = find("#count").value;
        find("#search").value = ""; find("#search").dispatchEvent(new Event("input"));
        [...document.querySelectorAll("#overview a")].find(a => a.textContent === "b9.png").click();
        await pause();
        seen.open = find("dialog").open; seen.title = find("dialog h2").textContent;
        seen.images = document.querySelectorAll("dialog before-after img").length;
        find(".which").value = "0 2"; find(".which").dispatchEvent(new Event("change"));
        await pause();
        seen.tags = [...document.querySelectorAll(".ba-tag")].map(tag => tag.textContent);
        find("#next").click(); await pause();
        seen.next = find("dialog h2").textContent; seen.ended = find("#next").disabled;
        find("#close").click(); await pause();
        seen.closed = !find("dialog").open && find("dialog article").childElementCount === 0;
        seen.focused = document.activeElement.textContent;
        """,
        tmp_path,
    )
    hostile = "<img src=x onerror='hacked = 1'>"
    assert seen["first"] == [hostile, "b9.png", "b10.png"] and seen["thumbnails"] == 2
    assert seen["least"] == [hostile, "b10.png", "b9.png"]
    assert seen["byName"][1:] == ["b9.png", "b10.png"]  # as people count
    assert seen["searched"] == ["b10.png"] and seen["count"] == "1 of 3 pictures"
    assert seen["open"] and seen["title"] == "b9.png" and seen["images"] == 2
    assert seen["tags"] == ["before", "reference"]
    assert seen["next"] == seen["focused"] == "b10.png" and seen["ended"] and seen["closed"]
    assert seen["hacked"] == "undefined"


def test_the_slider_moves_zooms_and_pans(report: Report, tmp_path: Path) -> None:
    report.entries[1:] = []
    seen = ask(
        report.to_html(),
        """
        const slider = find("before-after"), stage = find(".ba-stage");
        const box = stage.getBoundingClientRect();
        const scale = () => slider.second.getBoundingClientRect().width / 1500 * devicePixelRatio;
        const send = (type, x) => stage.dispatchEvent(new PointerEvent(
          type, { pointerId: 1, button: 0, clientX: box.left + x, clientY: box.top + 50 }));
        const drag = (from, to) => {
          send("pointerdown", from); send("pointermove", to); send("pointerup", to);
        };
        stage.setPointerCapture = () => {};
        seen.scale = scale();
        slider.range.value = 25; slider.range.dispatchEvent(new Event("input"));
        seen.position = slider.position; seen.clip = slider.cover.style.clipPath;
        const border = slider.border;
        drag(border, border + 100);
        seen.dragged = (slider.border - border);
        const left = slider.left;
        drag(20, 50);
        seen.panned = slider.left - left;
        const key = name => stage.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
        key("+"); seen.zoomed = scale(); seen.crisp = slider.second.style.imageRendering;
        key("0"); seen.fitted = slider.second.getBoundingClientRect().width <= box.width + 1;
        key("1"); seen.back = scale(); seen.words = slider.shown.value;
        find(".ba-tools input[type=checkbox]").click();
        seen.mixed = getComputedStyle(slider.cover).mixBlendMode;
        """,
        tmp_path,
    )
    assert seen["scale"] == seen["back"] == pytest.approx(1) and seen["words"] == "100 %"
    assert seen["position"] == 0.25 and re.match(r"inset\(0(px)? ", seen["clip"])
    assert seen["dragged"] == pytest.approx(100, abs=1) and seen["panned"] == pytest.approx(30)
    assert seen["zoomed"] == pytest.approx(2) and seen["crisp"] == "pixelated"
    assert seen["fitted"] and seen["mixed"] == "difference"
