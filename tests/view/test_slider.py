"""The page with the slider: complete in itself, and what comes from outside is escaped."""

from __future__ import annotations

import re
from html import unescape

import numpy as np

from restore.image.metrics import Scores
from restore.image.picture import Picture
from restore.view.pair import Pair
from restore.view.slider import asset, slider_frame, slider_page

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


def make_pair(name: str = "a.png") -> Pair:
    rng = np.random.default_rng(0)
    before, after = (Picture(rng.random((40, 60, 3), np.float32)) for _ in range(2))
    scores = Scores(20.0, 0.5, "RGB, 8 bit, no border")
    return Pair(name, before, after, before, scores, scores)


def test_the_page_holds_both_pictures_and_the_scores() -> None:
    page = slider_page(make_pair())
    assert re.findall(r'<img src="data:image/\w+;base64,[\w+/=]+" alt="(\w+)">', page) == [
        "before",
        "after",
    ]
    assert "PSNR 20.00 dB, SSIM 0.5000 (RGB, 8 bit, no border)" in page


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = slider_page(make_pair()).replace(asset("slider.js"), "")
    assert not re.search(r"""(?:src|href)=(?!["']data:)|url\(|@import|https?://""", page)


def test_names_are_escaped_in_the_page_and_in_its_frame() -> None:
    assert "<script>alert" not in slider_page(make_pair(HOSTILE))
    frame = slider_frame(make_pair(HOSTILE))
    assert frame.count("<") == 2  # of the frame itself, and of its end
    content = re.findall(r'srcdoc="([^"]*)"', frame)[0]
    assert unescape(content) == slider_page(make_pair(HOSTILE))
    assert 'sandbox="allow-scripts"' in frame  # and not allow-same-origin


def test_the_script_ends_no_element() -> None:
    assert "</" not in asset("slider.js").replace("</before-after>", "")
    assert "</script" not in asset("slider.js") and "</style" not in asset("slider.css")
