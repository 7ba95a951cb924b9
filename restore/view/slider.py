"""A slider between two pictures for web pages: the element `<before-after>`, and a page of it.

The element is in `slider.js` and `slider.css`, which the report and the web page share.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files

from restore.view.embed import View, embed
from restore.view.pair import Pair, score_words

BUDGET = 1_500_000  # bytes of the pictures in a notebook's cell
FRAME = 640  # pixels: the height of the frame in a notebook


def asset(name: str) -> str:
    """The text of a file beside this module: "slider.js" or "slider.css"."""
    return files("restore.view").joinpath(name).read_text(encoding="utf-8")


def slider_page(pair: Pair) -> str:
    """A page of HTML with a slider and nothing else; it loads nothing from elsewhere."""
    view = embed(pair, BUDGET)[0]
    names = [escape(name) for name in pair.pictures]
    pictures = "".join(
        f'<img src="{source}" alt="{name}">'
        for source, name in zip(view.sources[:2], names, strict=False)
    )
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{escape(pair.name)}</title>'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{asset('slider.css')} body {{margin: 0; font: 14px system-ui, sans-serif}}"
        " p {margin: .5rem 0}</style>"
        f"<before-after>{pictures}</before-after><p>{escape(described(view, pair))}</p>"
        f"<script>{asset('slider.js')}</script></html>"
    )


def slider_frame(pair: Pair) -> str:
    """The same as an `<iframe>` for notebooks, whose styles and scripts are its own."""
    height = min(FRAME, embed_height(pair))
    return (
        f'<iframe srcdoc="{escape(slider_page(pair))}" sandbox="allow-scripts" title="'
        f'{escape(pair.name)}: {escape(" and ".join(pair.labels))}" '
        f'style="width: 100%; height: {height}px; border: 0"></iframe>'
    )


def embed_height(pair: Pair) -> int:
    """Pixels that a slider of the pair takes with its tools, where there is room."""
    return max(180, pair.after.height) + 110


def described(view: View, pair: Pair) -> str:
    """What a view shows, how it is packed, and the scores, in a sentence."""
    words = [f"{view.title}; {view.coding}"]
    for label, scores in zip(pair.labels, (pair.before_scores, pair.after_scores), strict=True):
        if scores is not None:
            words.append(f"{label}: {score_words(scores)} ({scores.protocol})")
    return ". ".join(words)
