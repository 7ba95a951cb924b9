"""Sizes in words, what fits, and that what is planned is not exceeded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore.engine.compute import Resources, parse_bytes
from restore.engine.memory import (
    check_room,
    for_network,
    format_bytes,
    free_memory,
    held_bytes,
    tile_bytes,
    tile_pixels,
)
from restore.engine.rows.backend import columns_within
from restore.engine.rows.layers import Layers
from restore.engine.run import OUT_OF_MEMORY, run_array
from restore.errors import InputError
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
from restore.models.upscaler import Upscaler
from restore.pipeline.large import denoise_windows
from restore.pipeline.picture import denoise, upscale

CPU = torch.device("cpu")


def test_a_size_in_words_is_never_less_than_the_size() -> None:
    assert format_bytes(1000) == "1 KB"
    for count in (1, 999_999, 1_000_001, 10**9 - 1, 1_000_000_001, 17_654_321_987):
        said = parse_bytes(format_bytes(count))
        assert said is not None and count <= said < 1.01 * count + 10**6


def test_free_memory_is_what_the_system_says() -> None:
    assert 2**20 < free_memory(CPU) < 2**50


def test_room_is_had_or_not_before_anything_is_computed() -> None:
    check_room(10**6, CPU)
    with pytest.raises(RuntimeError, match=OUT_OF_MEMORY[1]):
        check_room(2**62, CPU)


def test_on_cuda_what_torch_keeps_without_using_it_is_free(
    monkeypatch: pytest.MonkeyPatch, small_network: Denoiser
) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 2**40))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert free_memory(cuda) == 150
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**40, 2**40))
    pixels = tile_pixels(small_network, cuda, torch.float16, None)
    assert pixels > 2**24 and 64 * pixels < 2**31  # the limit of cuDNN's indices


def test_tiles_on_cuda_are_bounded_by_the_device_and_by_what_comes_back(
    monkeypatch: pytest.MonkeyPatch, small_network: Denoiser, small_upscaler: Upscaler
) -> None:
    cuda, half = torch.device("cuda"), torch.float16
    free = [2**40]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 2**40))
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    back = 4 * 3 * small_upscaler.scale**2 * tile_pixels(small_upscaler, cuda, half, None)
    assert 2**28 < back <= 2**30  # bytes in page-locked memory, which torch never gives back
    monkeypatch.setattr(small_network, "footprint", 4000)  # as a wide network's was measured
    assert 2**29 < 4000 * tile_pixels(small_network, cuda, half, None) < 2**31
    free[0] = 2**30  # far less than a limit of the machine's memory
    fitting = tile_pixels(small_network, cuda, half, 2**38)
    assert 0 < fitting * tile_bytes(small_network, half) <= free[0] // 2
    assert tile_pixels(small_network, cuda, half, 2**28) < fitting


def test_a_budget_that_is_too_small_is_refused_with_the_smallest_that_works() -> None:
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1).eval()
    pixels = np.random.default_rng(0).random((60, 200, 3), np.float32)
    with pytest.raises(InputError, match="needs at least") as refusal:
        denoise(pixels, network, memory="2MB", precision="fp32", device="cpu")
    least = str(refusal.value).split("at least ")[1].split(",")[0]
    result = denoise(pixels, network, memory=least, precision="fp32", device="cpu")
    whole = denoise(pixels, network, precision="fp32", device="cpu")
    np.testing.assert_allclose(result.image, whole.image, rtol=0, atol=1e-5)
    held = held_bytes(60, 200, 3)
    assert for_network(held + 7, (60, 200, 3), 5) == 7


def test_a_budget_makes_columns_narrower_and_the_result_stays() -> None:
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1).eval()
    pixels = np.random.default_rng(0).random((60, 200, 3), np.float32)
    whole = run_array(network, pixels, Resources(CPU, torch.float32))
    layers = Layers(network, torch.float32)
    budget = layers.peak_bytes(60, 60)
    narrow = run_array(network, pixels, Resources(CPU, torch.float32, memory=budget))
    assert whole.plan.tiles == 1 < narrow.plan.tiles
    assert layers.peak_bytes(60, narrow.plan.window[1]) <= budget
    np.testing.assert_allclose(narrow.pixels, whole.pixels, rtol=0, atol=1e-5)


def test_the_smallest_budget_named_in_a_refusal_works() -> None:
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1).eval()
    layers = Layers(network, torch.float32)
    with pytest.raises(InputError, match="needs at least") as refusal:
        columns_within(layers, 4000, 2000, network.halo, 1000)
    least = parse_bytes(str(refusal.value).split("at least ")[1])
    columns = columns_within(layers, 4000, 2000, network.halo, least)
    assert sum(span.window for span in columns) < 2.2 * 2000  # not each pixel ten times


MEASURE = """
import resource, sys
import numpy as np, torch
torch.set_num_threads(1)
import restore
from restore.engine.memory import for_network, held_bytes
from restore.models.denoiser import Denoiser
import restore.engine.run, restore.engine.device
network = Denoiser(3, widths=(32, 64), blocks=(1, 1), seed=1).eval()
restore.denoise(np.zeros((64, 64, 3), np.uint8), network, precision="fp32")  # all is imported
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
budget = 100_000_000
pixels = np.full((500, 1600, 3), 100, np.uint8)
restore.denoise(pixels, network, precision="fp32", memory=budget)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024, budget)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures as Linux does")
def test_the_budget_is_kept_by_a_whole_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    used, budget = map(int, done.stdout.split())
    assert used <= budget


MEASURE_FILES = """
import ctypes, gc, resource, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
import restore
from restore.engine.memory import held_bytes
from restore.engine.rows import layers
from restore.image.picture import Picture
from restore.image.write import save_image
from restore.models.denoiser import Denoiser
from restore.models.upscaler import Upscaler
from restore.pipeline.file import denoise_file, upscale_file

def peak():
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    return lambda: next(
        int(line.split()[1]) * 1024
        for line in open("/proc/self/status") if line.startswith("VmHWM")
    )

layers.MOST_ROWS = 16  # so that the network takes less than what is measured
side, folder = int(sys.argv[1]), Path(sys.argv[2])
networks = [
    Denoiser(3, widths=(4, 4), blocks=(1, 1), seed=1).eval(),
    Upscaler(2, widths=(4, 4), blocks=(1, 1), seed=1).eval(),
]
for network in networks:
    scale = network.scale
    restoring = denoise_file if scale == 1 else upscale_file
    settings = {"model": network, "precision": "fp32", "device": "cpu", "overwrite": True}
    settings |= {} if scale == 1 else {"scale": scale}
    for suffix, depth in (("jpg", 8), ("webp", 8), ("png", 16), ("tif", "float")):
        for size in (100, side // scale):  # what is imported and cached is so after the first
            pixels = np.random.default_rng(0).normal(0, 0.02, (size, size, 3)).astype(np.float32)
            pixels += np.linspace(0.1, 0.9, size, dtype=np.float32)[:, None]
            source = folder / f"{size}.{suffix}"
            save_image(Picture(pixels, depth=depth), source, overwrite=True)
            del pixels
            held = held_bytes(size, size, 3, depth, scale**2)
            highest = peak()
            before = highest()
            restoring(source, folder / f"result.{suffix}", memory=held + 100_000_000, **settings)
            used = highest() - before
        print(f"x{scale}", source.name, used, held)
"""


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="this system does not measure a peak"
)
def test_a_file_and_its_result_take_no_more_than_is_planned_for_them(tmp_path: Path) -> None:
    """The network's own memory is free again when the result is coded, which takes the most."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_FILES, "1300", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 8
    assert [line for line in lines if int(line[2]) > int(line[3]) + 4_000_000] == []


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore.engine import memory

    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert free_memory(CPU) == 2_000_000


LIMITED = """
import logging, resource, sys
import numpy as np
import restore
from restore.models.denoiser import Denoiser

def data():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))

precision, step, least = sys.argv[1], 10**7, 10**7
logging.basicConfig(stream=sys.stdout)
network = Denoiser(3, (32, 64), (1, 1), seed=1).eval().requires_grad_(False)
picture = np.random.default_rng(0).random((64, 3000, 3), np.float32)
free = restore.denoise(picture, network, precision=precision, device="cpu").image
highest = resource.getrlimit(resource.RLIMIT_DATA)[1]
rooms = [*range(15 * step, least, -step), least, least // 2, least // 4]
for room in rooms:  # the memory that is left, made less until it does not hold the picture itself
    resource.setrlimit(resource.RLIMIT_DATA, (data() + room, highest))
    try:
        result = restore.denoise(picture, network, precision=precision, device="cpu")
    except restore.RestoreError as error:
        resource.setrlimit(resource.RLIMIT_DATA, (highest, highest))
        print("refused:", error)
        break
    resource.setrlimit(resource.RLIMIT_DATA, (highest, highest))
    assert np.abs(result.image - free).max() < (1e-5 if precision == "fp32" else 0.02)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="this system has no /proc")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_under_a_real_limit_columns_get_narrower_and_then_it_is_a_sentence(precision: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, precision],
        capture_output=True,
        text=True,
        timeout=300,
        # what is freed goes back to the system at once, so that what is left can be said
        env={
            **os.environ,
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "retrying with smaller tiles" in done.stdout
    assert "refused: " in done.stdout


class Doubling(BaseNetwork):
    """Repeats each pixel; a network whose layers the engine does not know."""

    channels, scale, halo, multiple_of = 3, 2, 8, 4

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def follow(run: Callable[[str], object]) -> None:
    """Run with too little memory, and then with what the refusal advises."""
    for memory in ("1MB", "60MB"):
        try:
            run(memory)
        except InputError as refusal:
            advised = re.search(r"at least ([\d.]+ [kMG]?B)", str(refusal))
            assert advised is not None, str(refusal)
            run(advised[1])


@pytest.mark.parametrize("shape", [(60, 200), (200, 150), (700, 32)], ids=str)
def test_every_memory_that_a_message_advises_works(shape: tuple[int, int]) -> None:
    network = Denoiser(3, widths=(4, 8), blocks=(1, 1), seed=1).eval()
    pixels = np.random.default_rng(0).random((*shape, 3), np.float32)
    cpu: dict[str, Any] = {"precision": "fp32", "device": "cpu"}
    for tile in (None, 96):
        follow(lambda memory, tile=tile: denoise(pixels, network, memory=memory, tile=tile, **cpu))
        follow(
            lambda memory, tile=tile: upscale(
                pixels, 2, Doubling(), memory=memory, tile=tile, **cpu
            )
        )
    follow(lambda memory: denoise(pixels, network, memory=memory, ensemble=True, **cpu))
    follow(
        lambda memory: denoise_windows(pixels, np.empty_like(pixels), network, memory=memory, **cpu)
    )
