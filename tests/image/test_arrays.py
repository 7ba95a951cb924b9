"""Arrays, Pillow images and tensors: in and out without losing, changing or sharing anything."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from restore.errors import InputError
from restore.image.arrays import from_array, from_pil, from_tensor, to_array, to_pil, to_tensor

SHAPES = [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)]
TYPES = [np.bool_, np.uint8, np.uint16, np.float16, np.float32, np.float64, ">u2", ">f4"]


def values(shape, dtype):
    rng = np.random.default_rng(3)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) > 0.5
    if dtype.kind == "u":
        made = rng.integers(0, 2 ** (8 * dtype.itemsize), shape).astype(dtype)
        made.flat[:2] = 0, 2 ** (8 * dtype.itemsize) - 1
        return made
    # float64 keeps what float32 can hold
    return (rng.random(shape) * 1.5 - 0.25).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_array_there_and_back(shape, dtype):
    array = values(shape, dtype)
    before = array.copy()
    picture = from_array(array)
    back = to_array(picture, like=array)
    assert back.dtype == array.dtype and back.shape == shape
    assert np.array_equal(back, before) and np.array_equal(array, before)
    assert not np.shares_memory(back, array)
    assert not np.shares_memory(picture.pixels, array)
    assert not np.shares_memory(back, picture.pixels)
    assert picture.pixels.dtype == np.float32
    assert picture.channels == (3 if shape[-1] in (3, 4) and len(shape) == 3 else 1)
    assert (picture.alpha is not None) == (len(shape) == 3 and shape[2] in (2, 4))


@pytest.mark.parametrize(("dtype", "depth"), [("u1", 8), ("?", 8), ("u2", 16), ("f2", "float")])
def test_depth_is_the_types_and_not_the_values(dtype, depth):
    assert from_array(np.zeros((2, 2), dtype)).depth == depth


def test_uint8_is_scaled_by_255():
    array = np.arange(256, dtype=np.uint8).reshape(16, 16)
    truth = (array / 255).astype(np.float32)
    assert np.array_equal(from_array(array).pixels[:, :, 0], truth)


def test_views_and_odd_strides():
    array = values((9, 8, 3), np.uint8)
    for view in (array[::-1, ::2], array[..., ::-1], np.asfortranarray(array)):
        assert np.array_equal(to_array(from_array(view), like=view), view)
    array.flags.writeable = False
    assert np.array_equal(to_array(from_array(array), like=array), array)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((4, 4), 255.0, np.float32), "this one reaches 255: divide by 255"),
        (np.full((4, 4), 65535.0), "divide by 65535"),
        (np.full((4, 4), -5.0), "reaches -5"),
        (np.array([[np.nan, 0.0]]), "not finite"),
        (np.array([[np.inf, 0.0]]), "not finite"),
        (np.array([[-np.inf, np.nan]]), "not finite"),
        (np.zeros((0, 4)), "at least one pixel"),
        (np.zeros((4, 0, 3), np.uint8), "at least one pixel"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((1, 4, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.zeros((4, 4), object), "object"),
        ([[0.0, 1.0]], "not list"),
    ],
    ids=str,
)
def test_arrays_that_are_no_pictures(array, words):
    with pytest.raises(InputError, match=words):
        from_array(array)


def test_noise_may_reach_beyond_the_range():
    array = np.array([[-3.9, 4.9]], np.float32)
    assert np.array_equal(to_array(from_array(array), like=array), array)


def test_values_beyond_the_range_are_clipped_for_integers_only():
    picture = from_array(np.array([[-0.5, 0.5, 1.5]], np.float32))
    assert to_array(picture, like=np.zeros((1, 1), np.uint8)).tolist() == [[0, 128, 255]]
    assert to_array(picture, like=np.zeros((1, 1), np.float64)).tolist() == [[-0.5, 0.5, 1.5]]


def test_channels_of_like():
    colour = from_array(values((4, 5, 3), np.uint8))
    assert to_array(colour, like=np.zeros((1, 1), np.uint8)).shape == (4, 5)
    opaque = to_array(colour, like=np.zeros((1, 1, 4), np.uint8))
    assert opaque.shape == (4, 5, 4) and opaque[..., 3].min() == 255
    clear = from_array(values((4, 5, 4), np.uint8))
    with pytest.raises(InputError, match="alpha"):
        to_array(clear, like=np.zeros((1, 1, 3), np.uint8))


# ---- Pillow


def pil(mode, size=(7, 5)):
    width, height = size
    if mode == "1":
        return Image.fromarray(values((height, width), np.bool_))
    if mode in ("I;16", "I;16L", "I;16B"):
        kind = ">u2" if mode == "I;16B" else "<u2"
        raw = values((height, width), np.uint16).astype(kind).tobytes()
        return Image.frombytes(mode, size, raw)
    if mode == "I":
        return Image.fromarray(values((height, width), np.uint16).astype(np.int32))
    if mode == "F":
        return Image.fromarray(values((height, width), np.float32))
    if mode in ("P", "PA"):
        return pil("RGB", size).quantize(8).convert(mode)
    bands = len(Image.new(mode, (1, 1)).getbands())
    bands = Image.merge(mode, [Image.fromarray(values((height, width), "u1"))] * bands)
    return bands


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B"])
def test_pil_there_and_back(mode):
    image = pil(mode)
    before = image.tobytes()
    back = to_pil(from_pil(image), like=image)
    assert back.mode == mode and back.size == image.size
    assert back.tobytes() == before == image.tobytes()
    assert back is not image


@pytest.mark.parametrize(
    ("mode", "plain"),
    [("P", "RGB"), ("PA", "RGBA"), ("CMYK", "RGB"), ("RGBX", "RGB"), ("YCbCr", "RGB")],
)
def test_modes_that_come_back_as_colour(mode, plain):
    image = pil(mode)
    back = to_pil(from_pil(image), like=image)
    assert back.mode == plain
    assert np.array_equal(np.asarray(back), np.asarray(image.convert(plain)))


@pytest.mark.parametrize("mode", ["LAB", "HSV", "La", "RGBa"])
def test_odd_modes_are_read(mode):
    picture = from_pil(pil(mode))
    assert (picture.height, picture.width) == (5, 7)
    assert (picture.alpha is not None) == (mode in ("La", "RGBa"))


def test_32_bit_integers_have_no_range():
    image = Image.fromarray(np.array([[0, 70_000]], np.int32))
    with pytest.raises(InputError, match="from 0 to 70000"):
        from_pil(image)


def test_float_image_beyond_the_range():
    with pytest.raises(InputError, match="divide by 255"):
        from_pil(Image.fromarray(np.full((2, 2), 255, np.float32)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_orientation_is_applied_once_and_metadata_comes_along(orientation, kind):
    tags = Image.Exif()
    tags[0x0112], tags[271] = orientation, "Maker"
    image = pil("RGB")
    memory = io.BytesIO()
    image.save(memory, kind, exif=tags, icc_profile=b"profile")
    image.getexif()[0x0112] = orientation
    truth = np.asarray(ImageOps.exif_transpose(image))
    lazy = Image.open(io.BytesIO(memory.getvalue()))
    picture = from_pil(lazy)
    back = to_pil(picture, like=lazy)
    assert np.array_equal(np.asarray(back), truth)
    assert back.info["icc_profile"] == b"profile"
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(back)), truth)
    if kind == "PNG":
        assert back.getexif()[271] == "Maker"


def test_damaged_lazy_image():
    memory = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(memory, "PNG")
    lazy = Image.open(io.BytesIO(memory.getvalue()[:1500]))
    with pytest.raises(InputError, match="decoded"):
        from_pil(lazy)


# ---- tensors

TENSORS = [torch.uint8, torch.uint16, torch.bool, torch.float16, torch.bfloat16, torch.float32]
TENSORS += [torch.float64]


@pytest.mark.parametrize("dtype", TENSORS, ids=str)
@pytest.mark.parametrize(
    "shape", [(5, 7), *[(c, 5, 7) for c in (1, 2, 3, 4)], (1, 3, 5, 7)], ids=str
)
def test_tensor_there_and_back(shape, dtype):
    kind = {torch.uint8: "u1", torch.uint16: "u2", torch.bool: "?"}.get(dtype, "f4")
    tensor = torch.from_numpy(values(shape, kind)).to(dtype)
    before = tensor.clone()
    back = to_tensor(from_tensor(tensor), like=tensor)
    assert (back.dtype, back.shape, back.device) == (tensor.dtype, tensor.shape, tensor.device)
    assert torch.equal(back, before) and torch.equal(tensor, before)
    assert back.data_ptr() != tensor.data_ptr() and back.is_contiguous()


def test_tensor_with_a_gradient():
    tensor = torch.rand(3, 4, 5, requires_grad=True)
    back = to_tensor(from_tensor(tensor), like=tensor)
    assert torch.equal(back, tensor.detach()) and not back.requires_grad


def test_tensor_axes_are_channels_first():
    tensor = torch.zeros(3, 4, 5)
    tensor[0] = 1
    assert from_tensor(tensor).pixels[2, 2].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(2, 3, 4, 4), "batch of one"),
        (torch.zeros(5, 4, 4), "batch of one"),
        (torch.zeros(4), "batch of one"),
        (torch.zeros(3, 0, 4), "at least one pixel"),
        (torch.full((3, 4, 4), 255.0), "divide by 255"),
        (torch.full((3, 4, 4), float("nan")), "not finite"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "int32"),
        (np.zeros((3, 4, 4)), "not ndarray"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_tensors_that_are_no_pictures(tensor, words):
    with pytest.raises(InputError, match=words):
        from_tensor(tensor)


@pytest.mark.gpu
def test_tensor_comes_back_to_its_device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tensor = torch.rand(3, 4, 5, device="cuda")
    back = to_tensor(from_tensor(tensor), like=tensor)
    assert back.device == tensor.device and torch.equal(back, tensor)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices_and_masked_arrays_are_refused():
    """A matrix stays two-dimensional whatever is done to it, and took the interpreter down."""
    values = np.zeros((4, 5), np.float32)
    for array in (np.asmatrix(values), np.ma.masked_array(values, values > 0)):
        with pytest.raises(InputError, match="give a plain array"):
            from_array(array)


UNUSUAL = {
    "sparse": lambda t: t.to_sparse(),
    "nested": lambda t: torch.nested.nested_tensor([t[0]], layout=torch.jagged),
    "meta": lambda t: t.to("meta"),
    "float8": lambda t: t.to(torch.float8_e4m3fn),
    "complex": lambda t: t.to(torch.complex64),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_tensors_are_one_sentence(kind):
    with pytest.raises(InputError):
        from_tensor(UNUSUAL[kind](torch.rand(3, 8, 8)))


def test_a_lazily_negated_tensor_is_a_picture():
    whole = torch.rand(3, 8, 8)
    negated = torch.complex(whole, -whole).conj().imag  # a view with a bit that says: negated
    np.testing.assert_allclose(from_tensor(negated).pixels, from_tensor(whole).pixels)


def test_a_view_of_more_pixels_than_any_picture_is_refused_at_once():
    vast = np.broadcast_to(np.zeros(1, np.uint8), (10**6, 10**6, 3))
    with pytest.raises(InputError, match="beyond the limit"):
        from_array(vast)
