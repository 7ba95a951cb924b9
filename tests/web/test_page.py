"""The page in a real browser: a file is dropped, watched, compared, blended and downloaded."""

from __future__ import annotations

import base64
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="pip install playwright to test the page in a browser"
)
pytest.importorskip("uvicorn", reason='pip install ".[web]" to test the page')

import restore
from restore.image.picture import quantise
from restore.web import routes

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="there is no Chromium: apt-get install chromium to test the page"
)
FAST = "denoise-photo-fast"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
DROP = """(target, [name, coded]) => {
  const bytes = Uint8Array.from(atob(coded), letter => letter.charCodeAt(0));
  const held = new DataTransfer();
  held.items.add(new File([bytes], name, { type: "image/png" }));
  for (const type of ["dragover", "drop"])
    target.dispatchEvent(
      new DragEvent(type, { dataTransfer: held, bubbles: true, cancelable: true }));
}"""
WATCH = """list => {
  window.seen = [];
  const look = () => window.seen.push(list.querySelector("progress")?.value ?? 0);
  new MutationObserver(look).observe(list, { subtree: true, childList: true, characterData: true });
}"""
PIXELS = """picture => {
  const { width, height } = picture;
  return [...picture.getContext("2d").getImageData(0, 0, width, height).data];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


def is_wrong(said: Any) -> bool:
    """Whether the console says that something went wrong; a refused request is no such thing."""
    return said.type == "error" and not said.text.startswith("Failed to load resource")


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, opened; nothing may be asked of another server, and nothing may go wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, base_url=address)
    context.set_default_timeout(30_000)
    opened, wrong = context.new_page(), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if is_wrong(said) else None)
    opened.asked = []
    opened.on("request", lambda request: opened.asked.append((request.method, request.url)))
    opened.goto(address)
    opened.locator("body[data-ready]").wait_for()
    opened.locator("#model").select_option(FAST)
    yield opened
    elsewhere = [u for _, u in opened.asked if not u.startswith((address, "blob:"))]
    context.close()
    assert not wrong and not elsewhere


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tile takes a while, so that its progress can be watched on any machine."""
    real = routes.restore

    def slow(upload: Any, form: Any, limits: Any, compute: Any, report: Any) -> Any:
        def slow_report(done: int, total: int) -> None:
            report(done, total)
            time.sleep(0.15)

        return real(upload, form, limits, compute, slow_report)

    monkeypatch.setattr(routes, "restore", slow)


@pytest.fixture
def tall(tmp_path: Path, samples: Path) -> Path:
    whole = restore.load_image(samples / "fur.png")
    path = tmp_path / "cat <b>.png"
    restore.save_image(whole.replace(pixels=whole.pixels[:, :64]), path)
    return path


def shown_after(page: Any) -> Any:
    """The pixels of the result as they are shown, blended."""
    canvas = page.locator("before-after").get_by_label("after", exact=True)
    pixels = np.array(canvas.evaluate(PIXELS), np.uint8)
    return pixels.reshape(300, 64, 4)[:, :, :3].astype(int)


def test_drop_watch_compare_blend_download(
    page: Any, tall: Path, slowly: None, tmp_path: Path, assert_same_picture: Any
) -> None:
    expect = sync_api.expect
    page.locator("#pictures").evaluate(WATCH)
    coded = base64.b64encode(tall.read_bytes()).decode()
    page.locator("main").evaluate(DROP, [tall.name, coded])
    expect(page.locator("#pictures li")).to_have_attribute("data-state", "done")
    seen = page.evaluate("() => window.seen")
    assert any(0 < value < 1 for value in seen) and seen == sorted(seen)
    expect(page.locator("#status")).to_contain_text("done")
    expect(page.locator("#shown-title")).to_have_text(tall.name)  # as text, not as HTML

    slider = page.locator("before-after")
    divider = slider.get_by_role("slider")
    before = slider.evaluate("element => element.position")
    divider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.evaluate("element => element.position") > before
    slider.get_by_role("button", name="Zoom in").click()

    full = shown_after(page)
    strength = page.locator("#strength")
    strength.focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    percent = int(strength.input_value())
    assert 50 < percent < 100
    blended = shown_after(page)
    settings = {"device": "cpu", "precision": "fp32", "strength": percent / 100}
    wanted = quantise(restore.denoise(tall, FAST, **settings).picture.pixels, 8)
    assert np.abs(blended - wanted).max() <= 2 < np.abs(full - blended).max()
    assert [m for m, url in page.asked if "/v1/denoise" in url] == ["POST"], "no second network"

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    saved = tmp_path / "saved.png"
    waiting.value.save_as(saved)
    assert waiting.value.suggested_filename == "cat _b_-restored.png"
    assert_same_picture(quantise(restore.load_image(saved).pixels, 8), wanted)


def test_several_pictures_one_broken_one_upscaled_one_removed(
    page: Any, small: Path, samples: Path, tmp_path: Path
) -> None:
    expect = sync_api.expect
    (tmp_path / "notes.png").write_text("no picture")
    files = page.locator("#files")
    files.set_input_files([small, tmp_path / "notes.png"])
    broken = page.locator("#pictures li", has_text="notes.png")
    expect(broken).to_have_attribute("data-state", "failed")
    expect(broken).to_contain_text("not a picture of a known kind")
    page.get_by_label("Upscale").check()
    expect(page.locator("#model")).to_have_value("")
    page.locator("#model").select_option("fast")
    page.locator("#model").select_option("bicubic")
    page.locator("#scale").fill("1.5")
    files.set_input_files([small])
    larger = page.locator("#pictures li").nth(2)
    expect(larger).to_have_attribute("data-state", "done")
    larger.locator(".show").click()
    expect(page.locator("#about-shown")).to_contain_text(re.compile("144 . 120, bicubic"))
    page.get_by_role("button", name="Remove notes.png").click()
    expect(page.locator("#pictures li")).to_have_count(2)
    page.get_by_role("button", name="Models").click()
    expect(page.get_by_role("dialog")).to_contain_text("denoise-photo-fast")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_running_picture_can_be_cancelled(
    page: Any, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(upload: Any, form: Any, limits: Any, compute: Any, report: Any) -> Any:
        while True:
            report(1, 4)
            time.sleep(0.02)

    monkeypatch.setattr(routes, "restore", endless)
    page.locator("#files").set_input_files([small])
    sync_api.expect(page.locator("#pictures li")).to_contain_text("25 %")
    page.get_by_role("button", name="Cancel").click()
    sync_api.expect(page.locator("#none")).to_be_visible()
    for _ in range(600):
        health = page.request.get("/health").json()
        if not health["waiting"] and not health["running"]:
            return
        time.sleep(0.02)
    raise AssertionError(health)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_on_a_desk_and_on_a_phone(
    page: Any, small: Path, tmp_path: Path, scheme: str
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    page.emulate_media(color_scheme=scheme)
    page.locator("#files").set_input_files([small])
    page.locator("before-after .ba-stage").wait_for()
    for width, height in ((1280, 860), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        page.screenshot(path=tmp_path / f"{scheme}-{width}.png", full_page=True)
        found = axe.Axe().run(page)
        assert not found.violations_count, found.generate_report()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_all_of_it_can_be_reached_by_the_keyboard(page: Any) -> None:
    order = []
    for _ in range(7):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate("() => document.activeElement.id || document.activeElement.value")
        )
    assert order == ["about", "files", "strength", "denoise", "model", "sigma", "detail"]
