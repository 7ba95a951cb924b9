"""Other projects' networks: weights files whose architecture spandrel recognises.

A file is read by spandrel's restricted unpickler (or safetensors), so that nothing in it is
executed. What a network of ours declares is taken from spandrel's description, and how far it sees
is measured once (`models.reach`) and kept in a file beside the weights.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import logging
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from restore.errors import WeightsError, WriteError
from restore.image.atomic import write_json
from restore.models.card import ModelCard
from restore.models.folders import SUFFIXES, cache_folder
from restore.models.network import BaseNetwork
from restore.models.reach import BLEND, OVERLAP, Geometry, Subject, measure

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor, ModelDescriptor

LARGEST_FILE = 2**32  # bytes; the largest of these networks have 2.5 GB
MEASURED = ".restore.json"  # added to the name of a weights file
MEASURED_VERSION = 1
DEFAULT_SIGMA = 15.0  # of 255; what spandrel tells networks that want a noise level
# Under these names checkpoints hold the network; averages over the training (EMA) are better.
AVERAGED = (
    "params_ema", "params-ema", "ema", "ema_model", "model_ema", "g_ema", "net_g_ema", "netG_ema",
    "generator_ema", "state_dict_ema",
)  # fmt: skip
WRAPPERS = (
    "params", "state_dict", "model_state_dict", "model", "module", "net", "net_g", "netG",
    "generator", "weights",
)  # fmt: skip
LARGE = 10**6  # parameters; measuring takes longer than anyone waits without a word
DEEPEST = 5  # dictionaries and prefixes around a network
LICENCES = ("modelspec.license", "license", "licence")  # keys in a safetensors header
UNKNOWN = "unknown"  # for a licence
ESTIMATED_FOOTPRINT = 4000  # values per pixel, times half the square of the scale


@dataclass(frozen=True)
class Form:
    """How a module of spandrel's is called.

    call:         (module, (1, C, H, W)) -> (1, C, scale H, scale W)
    plane:        whether it takes the noise level as a plane beside the picture
    channels_last: whether it runs with that layout of tensors
    """

    call: Callable[[nn.Module, Tensor], Tensor]
    plane: bool
    channels_last: bool


class CommunityNetwork(nn.Module, BaseNetwork):
    """A network of another project; see `models.network.Network` for what it declares."""

    channels: int
    scale: int
    multiple_of: int
    halo: int

    def __init__(self, module: nn.Module, form: Form) -> None:
        """Wrap spandrel's module; `load_community` sets the rest."""
        super().__init__()
        self.module, self.form = module, form
        self.noise = "white" if form.plane else "unknown"
        self.sigma = DEFAULT_SIGMA if form.plane else None

    @property
    def noise_inputs(self) -> int:
        """1 for networks that take the noise level beside the picture (DRUNet, FDnCNN)."""
        return int(self.form.plane)

    def conditioned_on(self, *noise: float) -> CommunityNetwork:
        """The same kernels, conditioned on this noise level (0-255) instead of 15."""
        if len(noise) != self.noise_inputs:
            raise ValueError(f"this network takes {self.noise_inputs} noise levels, not {noise}")
        other = copy.copy(self)
        other._modules = dict(self._modules)
        (other.sigma,) = noise
        return other

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W), about in [0, 1].

        noise: (N, 1) noise levels (0-255), for a network that takes one; None: `sigma`
        """
        kernels = next(self.module.parameters())
        given = x.to(kernels.dtype, copy=True)  # some of these networks change their input
        if not self.form.channels_last:
            given = given.contiguous()
        if self.form.plane:
            level = given.new_full((len(x), 1), self.sigma or 0.0) if noise is None else noise
            plane = (level.to(given.dtype) / 255).view(-1, 1, 1, 1).expand_as(given[:, :1])
            given = torch.cat([given, plane], 1)
        # one by one: spandrel promises no more
        return torch.cat([self.form.call(self.module, one) for one in given.split(1)]).to(x.dtype)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
        """Move and cast the network; its kernels keep the usual layout if they need it."""
        # torch gives `_apply` no types
        if self.form.channels_last:
            return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]
        usual = lambda tensor: fn(tensor).contiguous()  # noqa: E731 (a function around another)
        return super()._apply(usual, recurse)  # type: ignore[no-untyped-call,no-any-return]


def load_community(path: Path) -> CommunityNetwork:
    """A network from another project's weights file, on the CPU in float32.

    path: of the kinds in `SUFFIXES`
    Raises WeightsError with what is wrong, also where spandrel is not installed.
    """
    descriptor = _read(path)
    form = _form(descriptor)
    module = descriptor.model.float().eval().requires_grad_(False)
    network = CommunityNetwork(module, form)
    network.channels, network.scale = descriptor.input_channels, descriptor.scale
    needs = descriptor.size_requirements
    subject = Subject(
        network, network.channels, network.scale, needs.multiple_of, max(1, needs.minimum)
    )
    about = _known(path) or _measured(path, descriptor, subject)
    _declare(network, about.geometry, descriptor)
    network.card = about.card
    loaded: CommunityNetwork = network.eval()
    return loaded


def read_community_card(path: Path) -> ModelCard:
    """The card of another project's weights file, as far as it is known.

    It is made of what the file, spandrel and the measurement say. Raises what `load_community`
    raises.
    """
    about = _known(path)
    if about is None:
        network = load_community(path)
        assert network.card is not None
        return network.card
    return about.card


def _declare(
    network: CommunityNetwork, geometry: Geometry, descriptor: ImageModelDescriptor[nn.Module]
) -> None:
    needs = descriptor.size_requirements
    network.multiple_of, network.halo = geometry.multiple_of, geometry.halo
    network.blend, network.footprint = geometry.blend, geometry.footprint
    network.square = needs.square
    least = max(1, needs.minimum)
    if needs.square:  # so that a tile with a core fits into any picture
        least = max(least, 2 * geometry.halo + geometry.multiple_of)
    network.minimum = -(-least // geometry.multiple_of) * geometry.multiple_of
    # In bfloat16 the whole picture would pass through numbers of 8 bits; ours take only the
    # difference through it.
    network.precisions = ("fp32", "fp16") if descriptor.supports_half else ("fp32",)
    network.form = dataclasses.replace(network.form, channels_last=geometry.channels_last)


# ---- reading a file


def _read(path: Path) -> ImageModelDescriptor[nn.Module]:
    """What spandrel makes of a file; refused unless it maps pictures to pictures."""
    try:
        import spandrel
    except ImportError:
        raise WeightsError(
            f"{path} is not a weights file of this package; to run other projects' networks, "
            "`pip install spandrel`"
        ) from None
    descriptor = _recognised(path, _content(path, spandrel), spandrel)
    kind = descriptor.architecture.name
    if descriptor.purpose not in ("SR", "Restoration"):
        raise WeightsError(
            f"{path} holds {kind}, a network for {descriptor.purpose}; give one for denoising, "
            "JPEG removal, upscaling or another restoration of whole pictures"
        )
    counts = descriptor.input_channels, descriptor.output_channels
    if counts not in ((1, 1), (3, 3)):
        raise WeightsError(
            f"{path} holds {kind} from {counts[0]} to {counts[1]} channels; give a network from "
            "grey to grey or from RGB to RGB"
        )
    if not all(bool(p.isfinite().all()) for p in descriptor.model.parameters()):
        raise WeightsError(f"{path} holds weights that are not finite; fetch the file again")
    return descriptor


def _content(path: Path, spandrel: Any) -> Mapping[str, Any]:
    """The file's tensors, in whatever dictionaries they are. Nothing in the file is executed."""
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(
            f"{path} is not a weights file by its name; give one of {', '.join(SUFFIXES)} "
            "(TorchScript and whole pickled networks could run code)"
        )
    if path.stat().st_size > LARGEST_FILE:
        raise WeightsError(f"{path} is too large for a weights file; the largest have 2.5 GB")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise WeightsError(f"{path} is TorchScript, which is code; give its tensors alone")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old kinds of files
            content = spandrel.ModelLoader().load_state_dict_from_file(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused, because it holds more than tensors and could run code: {error}"
        ) from error
    except Exception as error:  # a damaged or hostile file may fail anywhere in torch or pickle
        raise WeightsError(f"{path} is corrupt, or no weights file: {_sentence(error)}") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds no named tensors; give a file with a state dictionary")
    return content


def _sentence(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _recognised(
    path: Path, content: Mapping[str, Any], spandrel: Any
) -> ImageModelDescriptor[nn.Module]:
    """The first set of tensors in the file that spandrel recognises, as a network."""
    misfit = None
    for tensors in candidates(content):
        if any(
            t.numel() * t.element_size() > t.untyped_storage().nbytes() for t in tensors.values()
        ):
            raise WeightsError(f"{path} is corrupt: a tensor is larger than its data")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the architectures' own code
                descriptor: ModelDescriptor = spandrel.ModelLoader().load_from_state_dict(tensors)
        except spandrel.UnsupportedModelError:
            continue
        except Exception as error:  # a misfit may fail anywhere in an architecture's own code
            misfit = misfit or error
            continue
        return descriptor
    if misfit is not None:
        raise WeightsError(
            f"{path} looks like a network that spandrel knows, but does not fit it: "
            f"{_sentence(misfit)}"
        ) from misfit
    raise WeightsError(
        f"{path} holds no network that spandrel {spandrel.__version__} recognises; its "
        "documentation lists the architectures"
    )


def candidates(content: Mapping[str, Any], depth: int = DEEPEST) -> Iterator[dict[str, Tensor]]:
    """The sets of tensors in a checkpoint that may be a network, averaged (EMA) ones first.

    They may be values of a dictionary in a dictionary, or share a prefix of their names.
    depth: how many dictionaries or prefixes are looked through, as a dictionary may hold itself
    """
    if not content or not depth:
        return
    inner = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    for name in sorted(inner, key=_rank):
        yield from candidates(inner[name], depth - 1)
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    for name in AVERAGED:
        yield from candidates(_within(tensors, name), depth - 1)
    if tensors:
        yield tensors
    for name in WRAPPERS:
        yield from candidates(_within(tensors, name), depth - 1)


def _rank(name: str) -> int:
    order = (*AVERAGED, *WRAPPERS)
    return order.index(name) if name in order else len(order)


def _within(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _form(descriptor: ImageModelDescriptor[nn.Module]) -> Form:
    """How to call the module.

    Spandrel's public call would clamp the output, and so hide an overflow in half precision; hence
    its private one. Where it adds a plane with a fixed noise level, the network here does.
    """
    kernel = next((p for p in descriptor.model.parameters() if p.dim() == 4), None)
    extra = 0 if kernel is None else kernel.shape[1] - descriptor.input_channels
    known = descriptor.architecture.id in ("DRUNet", "DnCNN")
    if known and extra == 1:
        return Form(lambda module, x: module(x), plane=True, channels_last=True)
    return Form(descriptor._call_fn, plane=False, channels_last=True)


# ---- what is measured once


@dataclass(frozen=True)
class About:
    """What is kept of a file: its card and its geometry."""

    card: ModelCard
    geometry: Geometry


def _measured(path: Path, descriptor: ImageModelDescriptor[nn.Module], subject: Subject) -> About:
    """Measure a network, and keep the result beside the file or else in the user's cache."""
    geometry = estimated(subject)
    if sum(p.numel() for p in descriptor.model.parameters()) > LARGE:
        log.warning("measuring how far %s sees, once; this may take some minutes", path.name)
    if not descriptor.size_requirements.square:
        with suppress(RuntimeError, ValueError, AssertionError, IndexError):  # odd shapes refused
            geometry = measure(subject)
    about = About(_card(path, descriptor, geometry), geometry)
    digest = _digest(path)
    kept = {
        "version": MEASURED_VERSION,
        "sha256": digest,
        "card": dataclasses.asdict(about.card),
        "geometry": dataclasses.asdict(geometry),
    }
    try:
        write_json(_beside(path), kept)
    except WriteError:
        with suppress(OSError, WriteError):
            cache_folder().mkdir(parents=True, exist_ok=True)
            write_json(_in_cache(digest), kept)
    return about


def _known(path: Path) -> About | None:
    """What was kept of this very file; None if nothing was, or it cannot be used."""
    digest = _digest(path)
    for place in (_beside(path), _in_cache(digest)):
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(place.read_text(encoding="utf-8"))
            if kept["version"] == MEASURED_VERSION and kept["sha256"] == digest:
                card = dataclasses.replace(ModelCard(**kept["card"]), name=path.stem)
                return About(card, Geometry(**kept["geometry"]))
    return None


def _beside(path: Path) -> Path:
    return path.with_name(path.name + MEASURED)


def _in_cache(digest: str) -> Path:
    return cache_folder() / f"{digest}.json"


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while part := file.read(2**20):
                digest.update(part)
            return digest.hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def estimated(subject: Subject) -> Geometry:
    """A geometry for networks that cannot be measured, such as those for squares alone."""
    multiple = subject.multiple_of
    halo = -(-OVERLAP // multiple) * multiple
    values = ESTIMATED_FOOTPRINT * max(1, subject.scale**2 // 2)
    return Geometry(multiple, halo, BLEND, None, 1.0, values, False)


def _card(path: Path, descriptor: ImageModelDescriptor[nn.Module], geometry: Geometry) -> ModelCard:
    import spandrel

    upscales = descriptor.scale > 1
    return ModelCard(
        name=path.stem,
        task="upscale" if upscales else "denoise",
        architecture=descriptor.architecture.name,
        arguments={},
        scale=descriptor.scale,
        licence=_licence(path),
        version=UNKNOWN,
        training={"loaded_by": f"spandrel {spandrel.__version__}", "tags": descriptor.tags},
        limits=[tiling_words(geometry)],
    )


def tiling_words(geometry: Geometry) -> str:
    """What tiles mean for the result, as a line of the card."""
    if not geometry.blend:
        return f"sees {geometry.halo} pixels far; tiles equal the whole picture"
    return (
        "sees the whole picture, or too far for tiles: those overlap by "
        f"{2 * geometry.halo} pixels and are blended, but cannot equal the whole picture"
    )


def _licence(path: Path) -> str:
    """The licence in the header of a safetensors file; of other files it is unknown."""
    if path.suffix.lower() == ".safetensors":
        with suppress(OSError, ValueError, KeyError, TypeError), open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            about = json.loads(file.read(min(length, 2**26)))["__metadata__"]
            found = next((str(about[key]) for key in LICENCES if about.get(key)), None)
            return found or UNKNOWN
    return UNKNOWN
