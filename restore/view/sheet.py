"""A labelled sheet of a picture before and after: windows at 100 %, the overview, the scores."""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from restore.image.metrics import Scores
from restore.view.pair import Pair, displayed, score_words
from restore.view.windows import Window, choose_windows

WHOLE = 800  # pixels each way up to which a picture is shown whole
SIDE, WINDOWS = 400, 3  # of a larger one: pixels to a side of a window, and windows at most
MARGIN, GAP, LINE = 20, 8, 22
NARROWEST = 260  # pixels of a column: what its label needs
OVERVIEW = 170  # pixels of the longer side
GROUND, TEXT, FAINT, MARK = (34, 34, 34), (240, 240, 240), (170, 170, 170), (255, 190, 60)


def draw_sheet(pair: Pair) -> Image.Image:
    """The sheet, in sRGB: a row for each window, a column for each picture of the pair.

    A pixel of the picture is a pixel of the sheet. Windows are chosen by `choose_windows`.
    """
    side = WHOLE if max(pair.after.height, pair.after.width) <= WHOLE else SIDE
    windows = choose_windows(pair.before, pair.after, side, WINDOWS)
    wide = max(NARROWEST, windows[0].width)
    columns = _columns(pair)
    cut = windows[0].why != ""
    head = MARGIN + (OVERVIEW + GAP if cut else 2 * LINE + GAP)
    top = head + (2 * LINE if any(columns.values()) else LINE) + GAP
    caption = LINE if cut else 0
    block = caption + windows[0].height + GAP
    foot = [*_scored_as(pair), "100 %: one pixel of the picture is one pixel here"]
    size = (
        2 * MARGIN + len(columns) * (wide + GAP) - GAP,
        top + len(windows) * block + len(foot) * LINE + MARGIN,
    )
    sheet = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(sheet)
    room = size[0] - 2 * MARGIN
    beside = room - OVERVIEW - GAP if cut else room
    _write(draw, (MARGIN, MARGIN), pair.name, beside, size=17)
    size_words = f"{pair.after.width}x{pair.after.height} pixels"
    _write(draw, (MARGIN, MARGIN + LINE + 4), size_words, beside, FAINT)
    if cut:
        view = overview(pair, windows)
        sheet.paste(view, (size[0] - MARGIN - view.width, MARGIN))
    lefts = [MARGIN + column * (wide + GAP) for column in range(len(columns))]
    for left, (label, scores) in zip(lefts, columns.items(), strict=True):
        _write(draw, (left, head), label, wide)
        _write(draw, (left, head + LINE - 3), score_words(scores), wide, FAINT)
    for row, window in enumerate(windows):
        upper = top + row * block
        where = f"{row + 1}   {window.why}, at {window.left}, {window.top}" if cut else ""
        _write(draw, (MARGIN, upper), where, room, MARK)
        for left, picture in zip(lefts, pair.pictures.values(), strict=True):
            sheet.paste(Image.fromarray(displayed(picture, window)), (left, upper + caption))
    for line, words in enumerate(foot):
        upper = size[1] - MARGIN - (len(foot) - line) * LINE + 4
        _write(draw, (MARGIN, upper), words, room, FAINT)
    return sheet


def overview(pair: Pair, windows: list[Window]) -> Image.Image:
    """The whole picture after, small, with its windows drawn in and numbered."""
    whole = pair.after
    step = max(1, max(whole.height, whole.width) // (4 * OVERVIEW))  # of a large one, a part
    alpha = None if whole.alpha is None else whole.alpha[::step, ::step]
    view = Image.fromarray(
        displayed(whole.replace(pixels=whole.pixels[::step, ::step], alpha=alpha))
    )
    view.thumbnail((OVERVIEW, OVERVIEW))
    draw = ImageDraw.Draw(view)
    scale = view.width / whole.width
    for number, window in enumerate(windows, 1):
        left, upper = window.left * scale, window.top * scale
        right = max(left, (window.left + window.width) * scale - 1)
        lower = max(upper, (window.top + window.height) * scale - 1)
        draw.rectangle((left, upper, right, lower), outline=MARK, width=2)
        draw.text(
            (left + 5, upper + 3), str(number), MARK, _font(13), stroke_width=2, stroke_fill=GROUND
        )
    return view


def _columns(pair: Pair) -> dict[str, Scores | None]:
    scores = dict(zip(pair.labels, (pair.before_scores, pair.after_scores), strict=True))
    return {label: scores.get(label) for label in pair.pictures}


def _scored_as(pair: Pair) -> list[str]:
    scores = pair.after_scores or pair.before_scores
    return [f"PSNR and SSIM of the whole picture: {scores.protocol}"] if scores else []


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    words: str,
    room: int,
    colour: tuple[int, int, int] = TEXT,
    size: int = 14,
) -> None:
    """A line of text, shortened in its middle where it is wider than its room."""
    font = _font(size)
    words = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in words)
    shown, kept = words, len(words)
    while kept > 2 and font.getlength(shown) > room:
        kept -= 1
        shown = f"{words[: kept - kept // 2]}\u2026{words[-(kept // 2) :]}"
    draw.text(place, shown, colour, font)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: it has the letters of most alphabets."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
