"""What a cluster's machines are asked for."""

from __future__ import annotations

import pytest

from restore.errors import InputError
from restore.pipeline.actors import actor_places


def test_each_gpu_or_group_of_cores_gets_a_worker() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 9.0}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
        {"Alive": True, "Resources": {"CPU": 1.0}},
        {"Alive": True, "Resources": {}},
    ]
    asked = actor_places(nodes)
    assert asked == [
        *([{"num_gpus": 1, "num_cpus": 8, "max_concurrency": 8}] * 2),
        *([{"num_cpus": 4, "max_concurrency": 2}] * 2),
        {"num_cpus": 1, "max_concurrency": 2},
    ]
    with pytest.raises(InputError, match="no machine"):
        actor_places(nodes[2:3])
