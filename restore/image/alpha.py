"""The colour under transparency: what a network, or an interpolation, may see of it.

Where a pixel is invisible its stored colour is arbitrary, most often black. Anything that looks at
neighbours would carry it into the visible edge as a dark or bright fringe.
"""

from __future__ import annotations

import numpy as np

from restore.image.picture import Pixels


def bleed(pixels: Pixels, alpha: Pixels) -> Pixels:
    """New pixels in which the colour of the visible ones has spread under the invisible ones.

    pixels: `(height, width, channels)`; alpha: `(height, width)`, 0 where nothing is visible
    Visible pixels keep their very colour. Each invisible one takes the mean, weighted by alpha, of
    the smallest square of 2, 4, 8 ... pixels around it that holds something visible (push and pull
    over a pyramid, Gortler et al., "The lumigraph", SIGGRAPH 1996). Without anything visible the
    pixels stay as they are.
    """
    hidden = alpha <= 0
    if not hidden.any() or hidden.all():
        return np.array(pixels)
    filled: Pixels = pixels.copy()
    filled[hidden] = _beneath(pixels * alpha[:, :, None], alpha)[hidden]
    return filled


def _beneath(colour: Pixels, weight: Pixels) -> Pixels:
    """Colour over weight; from the level of half the size where a pixel has no weight.

    colour: premultiplied by the weight
    """
    empty = weight <= 0
    result: Pixels = colour / np.where(empty, 1, weight).astype(np.float32)[:, :, None]
    if empty.any() and max(weight.shape) > 1:
        height, width = weight.shape
        coarse = _beneath(_halve(colour), _halve(weight[:, :, None])[:, :, 0])
        spread = coarse.repeat(2, 0)[:height].repeat(2, 1)[:, :width]
        result[empty] = spread[empty]
    return result


def _halve(values: Pixels) -> Pixels:
    """Sums of 2x2 pixels; an odd border is continued with nothing."""
    height, width, channels = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    summed: Pixels = even.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum((1, 3))
    return summed
