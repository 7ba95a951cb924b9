"""Noise as cameras deliver it: made in the sensor, spread by demosaicing, bent by the tone curve.

After Brooks et al., "Unprocessing images for learned raw denoising" (CVPR 2019): the picture is
taken back to linear light and to the sensor's colours, gets shot and read noise there, and comes
forward again. Demosaicing, white balance and colour matrix are linear, so the noise goes through
them alone and is added to the picture in linear light. So the clean picture stays what it was: what
the network learns is to take noise away, not to sharpen what demosaicing has blurred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
XYZ_TO_CAMERA = (  # four cameras, from the paper's published code
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
SHOT = (1e-4, 0.012)  # log-uniform between these
BILINEAR = {
    "green": ((0, 1, 0), (1, 4, 1), (0, 1, 0)),  # over 4
    "other": ((1, 2, 1), (2, 4, 2), (1, 2, 1)),  # over 4
}


@dataclass(frozen=True)
class Cameras:
    """One camera and one exposure for each of N pictures.

    to_camera: (N, 3, 3) linear sRGB to the sensor's colours, rows that sum to 1
    gains:     (N, 3, 1, 1) white balance of red, green and blue
    shot, read: (N, 1, 1, 1) variance of the noise = shot * signal + read, on the 0-1 raw scale
    slope, knee: (N, 1, 1, 1) of the tone curve
    """

    to_camera: Tensor
    gains: Tensor
    shot: Tensor
    read: Tensor
    slope: Tensor
    knee: Tensor


def draw_cameras(count: int, generator: torch.Generator) -> Cameras:
    """Random cameras with the published ranges of gains, matrices and noise.

    shot is log-uniform in [1e-4, 0.012]; log(read) = 2.18 log(shot) + 1.20 + N(0, 0.26). The tone
    curve's slope in the mid-tones is 1 to 2 (the paper's smoothstep has 1.5).
    """
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        draws = torch.rand(count, *shape, generator=generator, device=device)
        return low + (high - low) * draws

    mixture = uniform(1e-8, 1.0, 4)
    cameras = torch.tensor(XYZ_TO_CAMERA, device=device)
    matrices = torch.einsum("nk,kij->nij", mixture / mixture.sum(1, keepdim=True), cameras)
    matrices = matrices @ torch.tensor(RGB_TO_XYZ, device=device)
    log_shot = uniform(math.log(SHOT[0]), math.log(SHOT[1]), 1, 1, 1)
    spread = torch.randn(log_shot.shape, generator=generator, device=device) * 0.26
    gains = [uniform(1.9, 2.4), torch.ones(count, device=device), uniform(1.5, 1.9)]
    return Cameras(
        to_camera=matrices / matrices.sum(2, keepdim=True),
        gains=torch.stack(gains, 1).view(count, 3, 1, 1),
        shot=log_shot.exp(),
        read=(2.18 * log_shot + 1.20 + spread).exp(),
        slope=uniform(1.0, 2.0, 1, 1, 1),
        knee=uniform(0.35, 0.65, 1, 1, 1),
    )


def add_camera_noise(clean: Tensor, cameras: Cameras, generator: torch.Generator) -> Tensor:
    """What these cameras would have delivered, before compression: (N, 3, H, W) in [0, 1].

    clean: the pictures as delivered by a camera without noise; H and W even
    """
    linear = to_linear(clean, cameras)
    raw = _mix(linear, cameras.to_camera) / cameras.gains
    noise = demosaic(sensor_noise(raw, cameras, generator)) * cameras.gains
    noisy = linear + _mix(noise, torch.linalg.inv(cameras.to_camera))
    return from_linear(noisy.clamp(0, 1), cameras)


def to_linear(delivered: Tensor, cameras: Cameras) -> Tensor:
    """Delivered picture to linear light: the tone curve undone, then sRGB's transfer function."""
    curved = tone(delivered.clamp(0, 1), 1 / cameras.slope, cameras.knee)
    return torch.where(curved <= 0.04045, curved / 12.92, ((curved + 0.055) / 1.055) ** 2.4)


def from_linear(linear: Tensor, cameras: Cameras) -> Tensor:
    """The inverse of `to_linear`, for linear light in [0, 1]."""
    power = 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    curved = torch.where(linear <= 0.0031308, linear * 12.92, power)
    return tone(curved, cameras.slope, cameras.knee)


def tone(x: Tensor, slope: Tensor, knee: Tensor) -> Tensor:
    """A contrast curve on [0, 1] with this slope at the knee; its inverse has 1 / slope.

    The gain function of Barron, "A convenient generalization of Schlick's bias and gain
    functions" (2020): closed form both ways, unlike the smoothstep it stands for.
    """
    below = knee * x / (x + slope * (knee - x) + 1e-7)
    above = 1 + (1 - knee) * (x - 1) / (1 - x - slope * (knee - x) + 1e-7)
    return torch.where(x < knee, below, above).clamp(0, 1)


def sensor_noise(raw: Tensor, cameras: Cameras, generator: torch.Generator) -> Tensor:
    """Shot and read noise on the sites of an RGGB sensor: (N, 3, H, W), zero where no site is."""
    variance = cameras.shot * raw.clamp(min=0) + cameras.read
    white = torch.randn(raw.shape, generator=generator, device=raw.device)
    return white * variance.sqrt() * bayer_sites(raw.shape[-2], raw.shape[-1]).to(raw)


def bayer_sites(height: int, width: int) -> Tensor:
    """Which sites of an RGGB sensor see red, green and blue: (3, height, width) of 0 and 1."""
    sites = torch.zeros(3, height, width)
    sites[0, ::2, ::2] = 1
    sites[1, ::2, 1::2] = sites[1, 1::2, ::2] = 1
    sites[2, 1::2, 1::2] = 1
    return sites


def demosaic(mosaic: Tensor) -> Tensor:
    """Bilinear demosaicing of planes that are zero where they have no site."""
    other, green = (torch.tensor(BILINEAR[k], device=mosaic.device) for k in ("other", "green"))
    kernels = torch.stack([other, green, other]).to(mosaic.dtype).unsqueeze(1) / 4
    # mirrored about the first and last site, so that each neighbour has the right colour
    return F.conv2d(F.pad(mosaic, (1, 1, 1, 1), "reflect"), kernels, groups=3)


def _mix(planes: Tensor, matrices: Tensor) -> Tensor:
    """A colour matrix for each picture: (N, 3, H, W) and (N, 3, 3) -> (N, 3, H, W)."""
    return torch.einsum("nij,njhw->nihw", matrices, planes)
