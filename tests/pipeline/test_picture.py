"""The whole request, for every kind of picture that people hand over."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import restore
from restore.cli import app
from restore.errors import InputError, ReadError, UnknownModelError, WriteError
from restore.image.picture import Picture
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
from restore.models.noise_level import NoiseEstimator
from restore.models.upscaler import Upscaler
from restore.pipeline.batch import denoise_files
from restore.pipeline.file import denoise_file, denoise_huge
from restore.pipeline.picture import denoise, upscale

FP32 = {"device": "cpu", "precision": "fp32"}


def noisy_array(dtype: str, channels: int | None, rng: np.random.Generator) -> Any:
    shape = (21, 34) if channels is None else (21, 34, channels)
    values = rng.random(shape)
    if dtype == "bool":
        return values > 0.5
    return (values * np.iinfo(dtype).max).astype(dtype) if dtype[0] == "u" else values.astype(dtype)


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "float16", "bool"])
def test_arrays_come_back_in_their_own_kind_and_are_not_touched(
    small_network: Denoiser, rng: np.random.Generator, dtype: str, channels: int | None
) -> None:
    array = noisy_array(dtype, channels, rng)
    copy = array.copy()
    result = denoise(array, small_network, **FP32)
    assert np.array_equal(array, copy)
    assert not np.shares_memory(result.image, array)
    assert (result.image.shape, result.image.dtype) == (array.shape, array.dtype)
    if channels in (2, 4):
        np.testing.assert_allclose(result.image[..., -1], array[..., -1], rtol=1e-6)
    if dtype != "bool":  # half of a level is much for this small network
        assert not np.array_equal(result.image, array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16", "F"])
def test_pil_images_come_back_in_their_mode(small_network: Denoiser, mode: str) -> None:
    rgb = Image.effect_noise((30, 20), 60)
    image = rgb.convert("L").convert(mode) if mode != "I;16" else Image.new("I;16", (30, 20), 9000)
    if mode == "F":
        image = Image.fromarray(np.asarray(rgb, np.float32) / 255)
    result = denoise(image, small_network, **FP32)
    assert (result.image.mode, result.image.size) == (mode, (30, 20))


@pytest.mark.parametrize("shape", [(3, 20, 30), (1, 3, 20, 30), (1, 20, 30), (4, 20, 30), (20, 30)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.float64])
def test_tensors_come_back_in_their_shape(
    small_network: Denoiser, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    tensor = torch.rand(shape)
    tensor = (tensor * 255).to(dtype) if dtype == torch.uint8 else tensor.to(dtype)
    copy = tensor.clone()
    result = denoise(tensor, small_network, **FP32)
    assert torch.equal(tensor, copy)
    assert (result.image.shape, result.image.dtype) == (tensor.shape, dtype)


def test_every_kind_gives_the_same_pixels(small_network: Denoiser, samples: Path) -> None:
    path = samples / "fur.png"
    array = np.asarray(Image.open(path))
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    results = [
        denoise(image, small_network, output="array", **FP32).image
        for image in (path, str(path), array, Image.open(path), tensor, restore.load_image(path))
    ]
    for result in results:
        levels = result * 255 if result.dtype.kind == "f" else result.astype(float)
        assert np.abs(levels - results[0]).max() < 0.51


@pytest.mark.parametrize(
    ("output", "kind"),
    [("picture", Picture), ("array", np.ndarray), ("pil", Image.Image), ("tensor", torch.Tensor)],
)
def test_other_kinds_on_request(
    small_network: Denoiser, samples: Path, output: Any, kind: type
) -> None:
    result = denoise(samples / "cut-out.png", small_network, output=output, **FP32)
    assert isinstance(result.image, kind)
    if output == "array":
        assert (result.image.shape, result.image.dtype) == ((320, 320, 4), np.uint8)
    deep = denoise(samples / "portrait-16bit.png", small_network, output="array", **FP32)
    assert deep.image.dtype == np.uint16


def test_strength_blends_and_zero_is_the_input(small_network: Denoiser, samples: Path) -> None:
    picture = restore.load_image(samples / "fur.png")
    none, half, full = (
        denoise(picture, small_network, strength=s, **FP32).picture.pixels for s in (0, 0.5, 1)
    )
    assert np.array_equal(none, picture.pixels)
    np.testing.assert_allclose(half, (none + full) / 2, atol=1e-6)
    assert np.abs(full - none).mean() > 0.01


@pytest.mark.parametrize("strength", [7, -0.1, float("nan")])
def test_strengths_out_of_range_are_refused(small_network: Denoiser, strength: float) -> None:
    with pytest.raises(InputError, match="between 0"):
        denoise(np.zeros((4, 4), np.uint8), small_network, strength=strength)


@pytest.mark.parametrize("name", ["fur", "text", "grey", "portrait-16bit", "cut-out", "night"])
def test_the_shipped_model_restores_every_sample(samples: Path, name: str) -> None:
    result = denoise(samples / f"{name}.png", reference=samples / f"{name}-clean.png")
    assert result.before is not None and result.psnr is not None and result.ssim is not None
    assert result.psnr > result.before.psnr + 4.5
    assert result.ssim > result.before.ssim
    noisy = restore.load_image(samples / f"{name}.png")
    assert result.picture.pixels.shape == noisy.pixels.shape
    assert result.picture.depth == noisy.depth
    if noisy.alpha is not None:
        assert np.array_equal(result.picture.alpha, noisy.alpha)
    assert abs(result.picture.pixels.mean() - noisy.pixels.mean()) < 1 / 255


@pytest.mark.parametrize("name", ["fur", "text", "grey", "portrait-16bit", "cut-out", "night"])
def test_the_model_for_white_noise_leaves_the_brightness_where_it_is(
    samples: Path, name: str
) -> None:
    noisy = restore.load_image(samples / f"{name}.png")
    result = denoise(noisy, "denoise-gaussian", reference=samples / f"{name}-clean.png")
    assert result.before is not None and result.psnr is not None
    assert result.psnr > result.before.psnr + 4.5
    assert abs(result.picture.pixels.mean() - noisy.pixels.mean()) < 1 / 255


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_flat_colours_stay_where_they_are(level: int) -> None:
    flat = np.full((96, 96, 3), level, np.uint8)
    change = denoise(flat, "denoise-gaussian").image.astype(int) - level
    assert np.abs(change).max() <= 1  # up to the corners, for the border is mirrored first
    assert abs(change.mean()) < 0.2


def test_results_say_what_it_took(small_network: Denoiser) -> None:
    seen: list[tuple[int, int]] = []
    result = denoise(
        np.zeros((100, 120, 3), np.uint8),
        small_network,
        tile=60,
        report=lambda *s: seen.append(s),
        **FP32,
    )
    assert seen[-1] == (result.tiles, result.tiles)
    assert result.tiles > 1 and result.precision == "fp32" and "cpu" in result.device
    assert result.megapixels_per_second == pytest.approx(0.012 / result.seconds)
    assert result.psnr is None and result.before is None


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((4, 4, 3), np.nan), "finite"),
        (np.full((4, 4, 3), 255.0), "divide by 255"),
        (np.zeros((4, 4, 3), np.int64), "uint8"),
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "pixel"),
        (torch.zeros(2, 3, 4, 4), "batch of one"),
        (b"bytes", "not a picture"),
        (None, "not a picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(
    small_network: Denoiser, image: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        denoise(image, small_network)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"output": "jpeg"}, "same, picture"),
        ({"tile": 0}, "above 0"),
        ({"device": "gpu"}, "not a device"),
        ({"precision": "int8"}, "not a precision"),
        ({"reference": np.zeros((5, 4, 3), np.uint8)}, "reference is 4x5 RGB"),
    ],
)
def test_settings_out_of_range_are_refused(
    small_network: Denoiser, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        denoise(np.zeros((4, 4, 3), np.uint8), small_network, **settings)


def test_unknown_models_and_missing_files_are_refused() -> None:
    with pytest.raises(UnknownModelError, match="denoise-gaussian"):
        denoise(np.zeros((4, 4), np.uint8), "nonesuch")
    with pytest.raises(ReadError, match=r"none\.png"):
        denoise("none.png")


def test_files_are_written_beside_and_never_over(
    small_network: Denoiser, samples: Path, tmp_path: Path
) -> None:
    source = tmp_path / "fur.png"
    source.write_bytes((samples / "fur.png").read_bytes())
    before = source.read_bytes()
    _, written = denoise_file(source, model=small_network, **FP32)
    assert written == tmp_path / "fur-restored.png"
    with pytest.raises(WriteError, match="exists"):
        denoise_file(source, model=small_network, **FP32)
    with pytest.raises(WriteError, match="the picture itself"):
        denoise_file(source, source, overwrite=True, model=small_network, **FP32)
    denoise_file(source, overwrite=True, model=small_network, **FP32)
    (tmp_path / "out").mkdir()
    _, inside = denoise_file(
        source, tmp_path / "out", file_format="webp", model=small_network, **FP32
    )
    assert inside == tmp_path / "out" / "fur.webp"
    assert source.read_bytes() == before


def test_an_output_that_exists_is_found_before_the_work(samples: Path, tmp_path: Path) -> None:
    class Never(BaseNetwork):
        channels, scale, halo, multiple_of = 3, 1, 0, 1

        def __call__(self, x: Any) -> Any:
            pytest.fail("the network ran for an output that cannot be written")

    target = tmp_path / "out.png"
    target.write_bytes(b"precious")
    with pytest.raises(WriteError, match="exists"):
        denoise_file(samples / "text.png", target, model=Never())
    assert target.read_bytes() == b"precious"


def test_strength_zero_gives_back_the_very_jpeg(samples: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    Image.open(samples / "fur.png").save(source, quality=80)
    _, written = denoise_file(source, strength=0)
    assert written.read_bytes() == source.read_bytes()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test as soon as a network computes: the denoiser's, or that which finds noise."""

    def never(*_args: Any, **_kwargs: Any) -> None:
        pytest.fail("a network ran")

    for name in ("run", "run_array", "run_together"):
        monkeypatch.setattr(f"restore.engine.run.{name}", never)
    monkeypatch.setattr(NoiseEstimator, "forward", never)


@pytest.fixture
def noisy_files(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with a noisy PNG and TIFF of one size."""
    folder = tmp_path / "noisy"
    folder.mkdir()
    for name in ("a.png", "b.tif"):
        Image.fromarray(rng.integers(0, 256, (70, 50, 3), np.uint8)).save(folder / name)
    return folder


def levels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(
    "words",
    [(), ("--fast",), ("--sigma", "20"), ("--sigma", "auto", "--model", "denoise-gaussian")],
    ids=" ".join,
)
def test_strength_zero_converts_without_a_network(
    no_network: None, noisy_files: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    options = [*words, "--strength", "0", "--precision", "fp32", "--quality", "98"]
    one = ["denoise", str(noisy_files / "a.png"), "-o", str(tmp_path / "one.jpg")]
    folder = ["denoise", str(noisy_files), "-o", f"{tmp_path}/folder/{{stem}}.jpg"]
    for request in (one, folder):
        done = CliRunner().invoke(app, [*request, *options], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert "no noise found" not in done.output
    for result, source in (("one", "a.png"), ("folder/a", "a.png"), ("folder/b", "b.tif")):
        apart = np.abs(levels(tmp_path / f"{result}.jpg") - levels(noisy_files / source))
        assert apart.mean() < 4


def test_strength_zero_copies_rows_and_arrays_without_a_network(
    no_network: None, noisy_files: Path, tmp_path: Path
) -> None:
    source, target = noisy_files / "b.tif", tmp_path / "out.tif"
    for sigma in (None, 30):  # at a level that is added, rows alone would not do
        _, written = denoise_huge(
            source, target, sigma=sigma, strength=0, overwrite=True, precision="fp32"
        )
        assert np.array_equal(levels(written), levels(source))
    result = denoise(levels(source).astype(np.uint8), strength=0, precision="fp32")
    assert np.array_equal(result.image, levels(source))
    assert (result.unchanged, result.sigma) == (True, None)


def test_upscaling_at_strength_zero_does_not_look_for_noise(
    noisy_files: Path, monkeypatch: pytest.MonkeyPatch, small_upscaler: Upscaler
) -> None:
    def never(*_args: Any) -> None:
        pytest.fail("noise was measured")

    monkeypatch.setattr(NoiseEstimator, "forward", never)
    small_upscaler.noise = "mixed"
    for model in (small_upscaler, "bicubic"):
        done = upscale(noisy_files / "a.png", 3, model, strength=0, **FP32)
        assert done.picture.pixels.shape == (210, 150, 3)
    with pytest.raises(pytest.fail.Exception, match="noise was measured"):
        upscale(noisy_files / "a.png", 3, small_upscaler, **FP32)


def test_a_jpeg_keeps_its_profile_and_camera(
    small_network: Denoiser, samples: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6  # turned a quarter
    source = tmp_path / "a.jpg"
    Image.open(samples / "fur.png").save(source, exif=exif, icc_profile=b"profile" * 30)
    _, written = denoise_file(source, model=small_network, **FP32)
    with Image.open(written) as result:
        assert result.size == (300, 320)  # upright now
        assert result.getexif()[0x010F] == "Maker"
        assert result.getexif().get(0x0112, 1) == 1
        assert result.info["icc_profile"] == b"profile" * 30


def test_results_and_all_kinds_of_pictures_are_saved(
    small_network: Denoiser, samples: Path, tmp_path: Path
) -> None:
    result = restore.denoise(samples / "fur.png", small_network, **FP32)
    array = restore.denoise(samples / "fur.png", strength=0, output="array").image
    saved = {"result": result, "array": array, "pil": Image.fromarray(array)}
    for name, picture in saved.items():
        written = restore.save_image(picture, tmp_path / f"{name}.png")
        assert restore.load_image(written).width == 320
    with pytest.raises(InputError, match="not a picture"):
        restore.save_image(None, tmp_path / "none.png")


def test_a_header_that_says_too_much_is_refused_before_anything_is_decoded(
    tmp_path: Path, small_network: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JPEG of 691 bytes that says 240 MP took 5.8 GB before its limit of 300 MB refused it."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">HH", data, data.find(b"\xff\xc0") + 5, 12_000, 20_000)
    path.write_bytes(data)

    def never(*_: Any, **__: Any) -> None:
        pytest.fail("it was decoded")

    for name in ("picture.decode_image", "file.open_picture", "flow.open_picture"):
        monkeypatch.setattr(f"restore.pipeline.{name}", never)
    settings: dict[str, Any] = {"memory": "300MB", "device": "cpu", "precision": "fp32"}
    for restore_it in (
        lambda: denoise(path, small_network, **settings),
        lambda: denoise_file(path, model=small_network, **settings),
    ):
        with pytest.raises(InputError, match="20000x12000 pixels, which do not fit"):
            restore_it()
    (outcome,) = denoise_files(path, None, small_network, **settings)
    assert outcome.status == "failed" and "do not fit" in outcome.reason


def test_the_progress_of_two_tasks_goes_on_from_one_to_the_other(samples: Path) -> None:
    """A noisy picture is denoised before it is enlarged."""
    noisy = restore.load_image(samples / "fur.png").pixels[:64, :64]
    seen: list[tuple[int, int]] = []
    restore.upscale(noisy, 2, report=lambda *s: seen.append(s), **FP32)
    shares = [done / total for done, total in seen]
    assert 0 < shares[0] <= 0.5 < shares[-1] == 1 and shares == sorted(shares)
