"""Other projects' networks: each form of file, tiled against untiled, and nothing executed."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from restore.engine.compute import Resources
from restore.engine.prepare import prepare
from restore.engine.run import run_array
from restore.engine.seams import seam_notes
from restore.errors import InputError, WeightsError
from restore.image.arrays import to_picture
from restore.image.read import load_image
from restore.image.write import save_image
from restore.models import community
from restore.models.community import CommunityNetwork, candidates, load_community
from restore.models.weights import is_foreign, load_model, read_card
from restore.pipeline.batch import denoise_files
from restore.pipeline.file import denoise_huge
from restore.pipeline.picture import denoise, upscale

spandrel = pytest.importorskip("spandrel", reason="pip install spandrel")

CPU = torch.device("cpu")
State = dict[str, torch.Tensor]


def architecture(name: str, path: str) -> Any:
    """A class of spandrel's own code, for networks with random kernels."""
    import importlib

    return getattr(importlib.import_module(f"spandrel.architectures.{path}"), name)


def seeded(make: Callable[[], nn.Module], gain: float = 1.0) -> State:
    """Random kernels, parameters that begin at 0 or 1 included."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their code
        state = make().state_dict()
    for key, value in state.items():
        flat = value.is_floating_point() and value.numel() > 1 and float(value.std()) == 0
        if flat and not key.endswith(("running_var", "running_mean", "mean")):
            value.copy_(value + gain * 0.3 * torch.randn_like(value))
    return state


def compact(scale: int = 4, **more: Any) -> State:
    kind = architecture("SRVGGNetCompact", "Compact.__arch.SRVGG")
    return seeded(lambda: kind(num_feat=8, num_conv=2, upscale=scale, **more))


def span() -> State:
    kind = architecture("SPAN", "SPAN")
    state = seeded(lambda: kind(num_in_ch=3, num_out_ch=3, feature_channels=6, upscale=2))
    return {key: value * 0.3 for key, value in state.items()}


def esrgan() -> State:
    kind = architecture("RRDBNet", "ESRGAN.__arch.RRDB")
    return seeded(lambda: kind(num_filters=4, num_blocks=1, scale=2))


def swinir() -> State:
    kind = architecture("SwinIR", "SwinIR")
    return seeded(
        lambda: kind(
            img_size=16, embed_dim=8, depths=[2], num_heads=[2], window_size=8, upscale=2,
            upsampler="pixelshuffledirect", mlp_ratio=2,
        )
    )  # fmt: skip


def nafnet() -> State:
    kind = architecture("NAFNet", "NAFNet")
    return seeded(lambda: kind(width=4, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]))


def rcan() -> State:
    kind = architecture("RCAN", "RCAN")
    return seeded(lambda: kind(n_resgroups=1, n_resblocks=1, n_feats=16, reduction=4, scale=2))


def dncnn(told: bool = False, channels: int = 1) -> State:
    kind = architecture("DnCNN", "DnCNN")
    count, mode = channels + told, "FDnCNN" if told else "DnCNN"
    return seeded(lambda: kind(in_nc=count, out_nc=channels, nc=8, nb=8, act_mode="R", mode=mode))


def plksr() -> State:
    kind = architecture("PLKSR", "PLKSR")
    return seeded(lambda: kind(dim=8, n_blocks=1, kernel_size=9, upscaling_factor=2))


def safmn() -> State:
    return seeded(lambda: architecture("SAFMN", "SAFMN")(dim=8, n_blocks=1, upscaling_factor=2))


def swift() -> State:
    kind = architecture("SwiftSRGAN", "SwiftSRGAN")
    return seeded(lambda: kind(num_channels=4, num_blocks=1, upscale_factor=2))


def halved(state: State) -> State:
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def spoilt(state: State) -> State:
    """The same shapes with other kernels, to be told from the averaged ones."""
    return {key: torch.zeros_like(value) for key, value in state.items()}


def averaged(state: State) -> dict[str, Any]:
    """As `torch.optim.swa_utils.AveragedModel` saves it."""
    return {"n_averaged": torch.tensor(7), **prefixed(state, "module.")}


def both(state: State) -> dict[str, Any]:
    return {"params": spoilt(state), "params_ema": state, "iter": 5}


def lightning(state: State) -> dict[str, Any]:
    trained, loss = prefixed(spoilt(state), "model."), {"loss.weight": torch.ones(3)}
    return {"epoch": 3, "state_dict": {**trained, **prefixed(state, "ema_model."), **loss}}


# name: kernels, what is saved, suffix, whether tiles equal the whole, channels
ZOO: dict[str, tuple[Callable[[], State], Callable[[State], Any], str, bool, int]] = {
    "compact-x4": (compact, lambda s: {"params": s}, ".pth", True, 3),
    "compact-x8": (lambda: compact(8), both, ".pth", True, 3),
    "compact-x1": (lambda: compact(1), halved, ".pth", True, 3),
    "span-x2": (span, lightning, ".ckpt", True, 3),
    "esrgan-x2": (esrgan, lambda s: s, ".pth", True, 3),
    "swinir-x2": (swinir, lambda s: {"params_ema": s}, ".pth", True, 3),
    "nafnet": (nafnet, averaged, ".pth", False, 3),
    "rcan-x2": (rcan, lambda s: {"params": prefixed(s, "module.")}, ".pth", False, 3),
    "dncnn-grey": (dncnn, lambda s: {"state_dict": s}, ".pth", True, 1),
    "fdncnn": (lambda: dncnn(True, 3), lambda s: s, ".safetensors", True, 3),
    "plksr-x2": (plksr, lambda s: prefixed(s, "net_g_ema."), ".safetensors", True, 3),
    "safmn-x2": (safmn, halved, ".safetensors", True, 3),
    "swift-x2": (swift, lambda s: {"model": s, "optimizer": {"lr": 1.0}}, ".pth", True, 3),
}


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    yield


def write(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in content.items()}, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("name", ZOO)
def test_each_architecture_in_its_form_tiled_against_untiled(
    name: str, tmp_path: Path, assert_same_picture: Callable[..., None]
) -> None:
    make, form, suffix, exact, channels = ZOO[name]
    state = make()
    network = load_community(write(tmp_path / f"{name}{suffix}", form(state)))
    loaded = network.module.state_dict()
    first = next(key for key, value in state.items() if value.dim() == 4)
    torch.testing.assert_close(loaded[first], state[first], atol=1e-3, rtol=0)
    assert loaded[first].dtype == torch.float32
    assert network.channels == channels and (network.blend == 0) == exact
    scale = int(name[-1]) if "-x" in name else 1
    assert network.scale == scale
    side = max(2 * network.halo + max(2 * network.blend, 12), 48)
    grid = network.multiple_of
    side = -(-side // grid) * grid
    pixels = np.random.default_rng(0).random((side + 21, 2 * side - 7, channels), np.float32)
    whole = run_array(network, pixels, Resources(CPU, torch.float32))
    tiled = run_array(network, pixels, Resources(CPU, torch.float32, tile=side))
    assert whole.plan.tiles == 1 < tiled.plan.tiles
    assert whole.pixels.shape == (scale * (side + 21), scale * (2 * side - 7), channels)
    assert float(whole.pixels.std()) > 1e-3  # it does something
    if exact:
        most = max(1.0, float(np.abs(whole.pixels).max()))
        assert_same_picture(tiled.pixels / most, whole.pixels / most)
        assert not seam_notes(network, tiled.plan)
    else:
        assert float(np.abs(tiled.pixels - whole.pixels).mean()) < 0.1 * float(whole.pixels.std())
        assert "cannot equal" in seam_notes(network, tiled.plan)[0]


def test_every_way_of_restoring_says_that_tiles_were_blended(tmp_path: Path) -> None:
    path = write(tmp_path / "nafnet.pth", nafnet())
    network = load_community(path)
    tile = 2 * network.halo + 2 * max(network.blend, network.multiple_of)
    pixels = np.random.default_rng(0).integers(0, 256, (tile + 9, tile + 20, 3), np.uint8)
    save_image(to_picture(pixels), tmp_path / "a.tif")
    single = denoise(pixels, path, tile=tile, device="cpu")
    (outcome,) = denoise_files([tmp_path / "a.tif"], model=path, tile=tile, device="cpu")
    rows, _ = denoise_huge(
        tmp_path / "a.tif", tmp_path / "rows.tif", path, tile=tile, device="cpu", memory="1GB"
    )
    for notes in (single.notes, outcome.notes, rows.notes):
        assert len(notes) == 1 and "cannot equal" in notes[0]
    whole = load_image(tmp_path / "a-restored.tif").pixels
    by_rows = load_image(tmp_path / "rows.tif").pixels
    assert np.abs(by_rows - whole).mean() < 2 / 255
    assert denoise(pixels, path, device="cpu").notes == ()


def test_untiled_is_what_spandrel_gives(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pth", compact(2))
    theirs = spandrel.ModelLoader().load_from_file(path)
    pixels = np.random.default_rng(0).random((30, 41, 3), np.float32)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    wanted = theirs(x)[0].permute(1, 2, 0).numpy()
    mine = run_array(load_community(path), pixels, Resources(CPU, torch.float32)).pixels
    np.testing.assert_allclose(mine.clip(0, 1), wanted, atol=1e-5)
    whole = upscale(pixels, 2, path, device="cpu").image
    np.testing.assert_allclose(whole, wanted, atol=1e-5)  # no correction of ours is added


def test_it_is_measured_once_and_remembered_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.pth", compact(1))
    first = load_community(path)
    kept = json.loads((tmp_path / "x.pth.restore.json").read_text(encoding="utf-8"))
    assert kept["geometry"]["halo"] == first.halo == 4
    monkeypatch.setattr(community, "measure", lambda subject: pytest.fail("measured again"))
    assert load_community(path).halo == 4
    assert read_card(path).architecture == "RealESRGAN Compact"
    moved = path.rename(tmp_path / "y.pth")
    (tmp_path / "x.pth.restore.json").rename(tmp_path / "y.pth.restore.json")
    assert read_card(moved).name == "y"

    write(moved, compact(2))  # another network under the same name
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls: list[Any] = []
    measure = community.measure
    monkeypatch.setattr(community, "measure", lambda s: calls.append(s) or measure(s))
    load_community(moved)
    assert len(calls) == 1


def test_where_nothing_can_be_written_beside_it_the_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.pth", compact(1))
    (tmp_path / "x.pth.restore.json").mkdir()  # stands in the way
    load_community(path)
    (kept,) = (tmp_path / "cache" / "restore").iterdir()
    assert kept.name == f"{community._digest(path)}.json"
    monkeypatch.setattr(community, "measure", lambda subject: pytest.fail("measured again"))
    load_community(path)


def test_what_cannot_be_measured_gets_a_stated_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(subject: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(community, "measure", fails)
    network = load_community(write(tmp_path / "x.pth", compact(2)))
    assert (network.halo, network.blend, network.scale) == (64, 16, 2)
    assert "cannot equal" in network.card.limits[0]  # type: ignore[union-attr]


def test_a_network_told_the_noise_level_listens_to_it(tmp_path: Path) -> None:
    path = write(tmp_path / "f.pth", dncnn(True, 3))
    network = load_community(path)
    assert (network.noise_inputs, network.sigma, network.noise) == (1, 15.0, "white")
    x = torch.rand(1, 3, 20, 20)
    theirs = spandrel.ModelLoader().load_from_file(path)
    torch.testing.assert_close(network(x).clamp(0, 1), theirs(x), atol=1e-5, rtol=0)
    told = network.conditioned_on(50.0)
    assert told.sigma == 50.0 and network.sigma == 15.0
    torch.testing.assert_close(told(x), network(x, torch.tensor([[50.0]])), atol=1e-6, rtol=0)
    assert float((told(x) - network(x)).abs().max()) > 1e-4
    result = denoise(x[0].permute(1, 2, 0).numpy(), path, sigma=50, device="cpu")
    assert result.sigma == 50.0


def test_other_networks_are_told_no_noise_level(tmp_path: Path) -> None:
    path = write(tmp_path / "x.pth", compact(1))
    with pytest.raises(InputError, match="decides itself what it removes; leave sigma out"):
        denoise(np.zeros((8, 8, 3), np.float32), path, sigma=25)
    assert denoise(np.zeros((8, 8, 3), np.float32), path, device="cpu").model == "x.pth"


def test_bfloat16_is_not_used_and_half_where_it_is_supported(tmp_path: Path) -> None:
    half = load_community(write(tmp_path / "x.pth", compact(1)))
    assert half.precisions == ("fp32", "fp16")
    assert load_community(write(tmp_path / "d.pth", dncnn())).precisions == ("fp32",)
    pixels = np.random.default_rng(0).random((9, 9, 3), np.float32)
    assert denoise(pixels, half, precision="bf16", device="cpu").precision == "fp32"


def test_a_layout_that_a_network_cannot_take_is_not_forced_on_it(tmp_path: Path) -> None:
    network = load_community(write(tmp_path / "x.pth", compact(1)))
    usual = CommunityNetwork(network.module, community.Form(network.form.call, False, False))
    usual.channels, usual.scale, usual.multiple_of, usual.halo = 3, 1, 1, 4
    ready = prepare(usual, CPU, torch.float32)
    kernels = [p for p in ready.parameters() if p.dim() == 4]  # type: ignore[attr-defined]
    assert all(kernel.is_contiguous() for kernel in kernels)
    x = torch.rand(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ready(x), network(x), atol=1e-5, rtol=0)


def test_the_input_is_never_changed(tmp_path: Path) -> None:
    network = load_community(write(tmp_path / "r.pth", rcan()))
    x = torch.rand(1, 3, 16, 16)
    before = x.clone()
    network(x)
    assert torch.equal(x, before)


def test_averaged_weights_come_first_and_decoys_are_passed_over() -> None:
    good, bad = {"a.weight": torch.ones(1)}, {"a.weight": torch.zeros(1)}
    for content in (
        {"params": bad, "params_ema": good},
        {"g": bad, "g_ema": good},
        {"state_dict": {**prefixed(bad, "model."), **prefixed(good, "ema.")}},
        {"step": 3, "ema_model": {"initted": torch.tensor(1), **prefixed(good, "ema_model.")}},
    ):
        first = next(c for c in candidates(content) if "a.weight" in c)
        assert first["a.weight"] == 1, content


# ---- what is refused


class Hostile:
    """Runs a function when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path: Path, legacy: bool) -> None:
    mark = tmp_path / "ran"
    content = {"params": {**compact(1), "x": Hostile(mark)}}
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"refused, because .* could run code: .*forbidden"):
        load_model(path)
    path.write_bytes(pickle.dumps(Hostile(mark)))
    with pytest.raises(WeightsError):
        load_model(path)
    assert not mark.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.pth"]


def test_an_older_file_of_tensors_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(compact(1), path, _use_new_zipfile_serialization=False)
    assert load_model(path).scale == 1


def test_torchscript_and_whole_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("script/constants.pkl", b"")
    with pytest.raises(WeightsError, match="TorchScript, which is code"):
        load_model(path)
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="could run code"):
        load_model(tmp_path / "whole.pth")


def test_tensors_larger_than_their_data_are_refused(tmp_path: Path) -> None:
    state = compact(1)
    state["body.0.weight"] = torch.zeros(1).expand(2**20, 3, 3, 3)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="larger than its data"):
        load_model(tmp_path / "x.pth")


def test_damaged_files_are_a_sentence(tmp_path: Path) -> None:
    data = write(tmp_path / "x.pth", compact(1)).read_bytes()
    for length in (0, 1, 50, len(data) // 2, len(data) - 9):
        (tmp_path / "x.pth").write_bytes(data[:length])
        with pytest.raises(WeightsError):
            load_model(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(data)
    nan = compact(1)
    nan["body.0.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(WeightsError, match="not finite"):
        load_model(write(tmp_path / "n.pth", nan))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda: {"weight": torch.ones(3)}, "holds no network that spandrel"),
        (lambda: {**compact(1), "body.2.weight": torch.ones(5, 8, 3, 3)}, "does not fit it"),
        (lambda: compact(1, num_in_ch=1), "from 1 to 3 channels"),
        (lambda: {}, "holds no network"),
    ],
)
def test_other_tensors_are_refused_with_what_they_are(
    tmp_path: Path, state: Callable[[], State], words: str
) -> None:
    with pytest.raises(WeightsError, match=words):
        load_model(write(tmp_path / "x.pth", state()))


def test_other_purposes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.pth", compact(1))
    monkeypatch.setattr(spandrel.ImageModelDescriptor, "purpose", "FaceSR")
    with pytest.raises(WeightsError, match="for FaceSR; give one for denoising"):
        load_model(path)


def test_without_spandrel_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    path = write(tmp_path / "x.pth", compact(1))
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(WeightsError, match="`pip install spandrel`"):
        load_model(path)


def test_the_header_tells_whose_a_safetensors_file_is(tmp_path: Path) -> None:
    theirs = write(tmp_path / "x.safetensors", compact(1))
    assert is_foreign(theirs)
    ours = next(iter(__import__("restore").available_models().values()))
    assert not is_foreign(ours)
    (tmp_path / "no.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    assert not is_foreign(tmp_path / "no.safetensors")  # refused as a damaged one of ours


@pytest.mark.parametrize("key", ["modelspec.license", "license"])
def test_the_licence_is_read_where_the_header_has_one(tmp_path: Path, key: str) -> None:
    path = tmp_path / "x.safetensors"
    save_file(compact(1), path, metadata={key: "CC-BY-4.0"})
    card = read_card(path)
    assert (card.licence, card.task) == ("CC-BY-4.0", "denoise")
    assert read_card(write(tmp_path / "y.pth", compact(2))).licence == "unknown"
