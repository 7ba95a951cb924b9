"""The report: everything in one file that loads nothing, escaped, within its limit, worst first."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from restore.errors import WriteError
from restore.evaluation import report as report_module
from restore.evaluation.report import Report
from restore.image.metrics import Scores
from restore.image.picture import Picture
from restore.tasks.noise_level import white
from restore.view.pair import Pair

HOSTILE = '"><script>hacked = 1</script><img src=x onerror="hacked = 1"> & {{ 7 * 7 }}'
EMPTY = 45_000  # characters of a report without pictures: its style and its script


@pytest.fixture(autouse=True)
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate has tests of its own, and takes longer than all the rest."""
    monkeypatch.setattr(report_module, "estimate_noise", lambda pixels: white(9.0))


def make_pair(name: str, change: float = 0.1, size: int = 48, gain: float | None = None) -> Pair:
    rng = np.random.default_rng(0)
    before = Picture(rng.random((size, size + 10, 3), np.float32) / 2)
    after = Picture(before.pixels + np.float32(change))
    if gain is None:
        return Pair(name, before, after)
    scores = (Scores(20.0, 0.5, "RGB"), Scores(20.0 + gain, 0.75, "RGB"))
    return Pair(name, before, after, after, *scores)


def names_of(page: str) -> list[str]:
    """The pictures of the overview, in order."""
    return re.findall(r'<a href="#picture-\d+">(.*?)</a>', page)


class Elements(HTMLParser):
    """What elements a page has, and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_one_picture_has_no_overview_and_all_that_is_known() -> None:
    report = Report("a.png", 1, "restore denoise 'a b.png'")
    report.add_table("Settings", {"strength": "0.7"})
    report.add_table("Model tiny", {"licence": "CC0-1.0"})
    report.add_table("Nothing", {})
    report.add(make_pair("a.png", gain=3.5), {"device": "cpu"})
    page = report.to_html()
    assert 'id="overview"' not in page
    for words in (
        "+3.50 dB",
        "20.00 dB",
        "23.50 dB",
        "0.7500",
        "whole picture: 58x48 pixels",
        f"{white(9.0).level:.1f} of 255",
        "25.5 of 255",  # the change of 0.1
        "device",
        "0.7",
        "CC0-1.0",
        "restore denoise &#39;a b.png&#39;",
    ):
        assert words in page, words
    assert "Nothing" not in page
    assert page.count("<svg") == 2 and page.count('class="area') == 3


def test_the_worst_come_first() -> None:
    report = Report("set", 4)
    for name, gain in (("good", 5.0), ("bad", -1.0), ("fair", 2.0)):
        report.add(make_pair(name, gain=gain))
    report.add_failure("broken", "it cannot be read")
    assert names_of(report.to_html()) == ["broken", "bad", "fair", "good"]
    report = Report("without references", 3)
    for name, change in (("little", 0.01), ("much", 0.3), ("some", 0.1)):
        report.add(make_pair(name, change))
    assert names_of(report.to_html()) == ["much", "some", "little"]


def test_where_all_have_failed_there_is_a_report_of_that() -> None:
    report = Report("set", 2)
    for name in ("a", "b"):
        report.add_failure(name, "it cannot be read")
    assert names_of(report.to_html()) == ["a", "b"]
    assert names_of(Report("empty", 0).to_html()) == []


def test_columns_that_nobody_has_are_left_out() -> None:
    report = Report("set", 2)
    report.add(make_pair("a"))
    report.add(make_pair("b"))
    keys = re.findall(r'data-key="(\w+)"', report.to_html())
    assert keys == ["name", "change", "noise", "size"]


def test_equal_pictures_have_no_infinite_numbers() -> None:
    pair = make_pair("a", change=0.0)
    infinite = Scores(float("inf"), 1.0, "RGB")
    report = Report("set", 2)
    report.add(Pair("a", pair.before, pair.before, pair.before, infinite, infinite))
    report.add(make_pair("b", gain=1.0))
    page = report.to_html()
    assert not re.search(r"\b(inf|nan)\b", re.sub(r"base64,[\w+/=]+", "", page))


def test_nothing_from_outside_becomes_an_element() -> None:
    def page_of(text: str) -> str:
        report = Report(text, 2, text)
        report.add_table(text, {text: text})
        report.add(make_pair(text, gain=1.0), {text: text})
        report.add_failure(text, text)
        return report.to_html()

    plain, hostile = (Elements(page_of(text)).found for text in ("plain", HOSTILE))
    assert [tag for tag, _ in plain] == [tag for tag, _ in hostile]
    assert [list(attributes) for _, attributes in plain] == [list(a) for _, a in hostile]
    assert "7 * 7" in page_of(HOSTILE)


def test_no_script_but_its_own_runs_and_nothing_is_loaded() -> None:
    report = Report("a", 1)
    report.add(make_pair("a"))
    page = report.to_html()
    (policy,) = [
        a["content"] or "" for tag, a in Elements(page).found if "http-equiv" in a and tag == "meta"
    ]
    assert policy.startswith("default-src 'none'; img-src data:;")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    for _, attributes in Elements(page).found:
        address = attributes.get("src") or attributes.get("href") or "data:"
        assert address.startswith("data:")


def test_many_pictures_stay_within_the_limit() -> None:
    limit, count = 3_000_000, 30
    report = Report("many", count, limit=limit)
    for number in range(count):
        report.add(make_pair(f"{number}.png", size=200))
    page = report.to_html()
    assert limit / 5 < len(page) < limit + EMPTY
    assert all(entry.views for entry in report.entries)


def test_where_nothing_fits_the_page_says_so() -> None:
    report = Report("many", 1, limit=10_000)
    report.add(make_pair("a.png", size=200))
    page = report.to_html()
    assert len(page) < 10_000 + EMPTY and "is left out, to keep this file small" in page


def test_a_report_replaces_a_file_only_where_that_is_asked_for(tmp_path: Path) -> None:
    report = Report("a", 1)
    report.add_failure("a", "broken")
    path = report.write(tmp_path / "a.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(WriteError, match="exists"):
        report.write(path)
    report.write(path, overwrite=True)


def test_grey_pictures_and_those_with_alpha_can_be_told() -> None:
    pair = make_pair("a")
    alpha = np.ones(pair.before.pixels.shape[:2], np.float32)
    before = pair.before.replace(pixels=pair.before.pixels[..., :1], alpha=alpha)
    report = Report("a", 1)
    report.add(Pair("a", before, pair.after))
    page = report.to_html()
    assert 'class="line grey"' in page and 'class="area red"' in page
