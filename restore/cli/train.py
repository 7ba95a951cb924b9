"""`restore train`: from a recipe and a folder of clean pictures to a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore.cli.console import (
    Debug,
    OneDevice,
    Precision,
    check_one_device,
    examples,
    option,
    out,
    parse_seconds,
)
from restore.cli.data import Overwrite
from restore.cli.watching import show, stopping, torch_quiet

EPILOG = examples(
    "restore train denoise-photo-fast --data photos --val other-photos --time-limit 1h30m",
    "restore train my-recipe.toml --data photos -o mine.safetensors",
)
SEVERAL = "for several GPUs start it with `torchrun --nproc-per-node 2 -m restore train ...`"


Recipe = Annotated[
    str, typer.Argument(help="The name of a shipped recipe, or a recipe in a TOML file.")
]
Data = Annotated[
    Path,
    option(
        "Data", "A folder of clean pictures to train on; with --self-supervised, of noisy ones."
    ),
]
Val = Annotated[
    Path | None,
    option(
        "Data",
        "A folder of other clean pictures; the weights with the best score there are kept.",
    ),
]
StartFrom = Annotated[
    str | None, option("Training", "A model to start from, instead of random weights.")
]
Teacher = Annotated[
    str | None,
    option("Training", "A model to learn from: its results are the target (distillation)."),
]
Steps = Annotated[
    int | None, option("Training", "Number of training steps; default: the recipe's.")
]
Seed = Annotated[int | None, option("Training", "Random seed; default: the recipe's.")]
TimeLimit = Annotated[
    str | None, option("Training", "Finish within this time, such as 90s, 75m or 1h30m.")
]
SelfSupervised = Annotated[
    bool,
    option(
        "Training",
        "Learn from noisy pictures alone: all in one folder, or several shots of each scene "
        "in a subfolder of its own.",
        "--self-supervised",
    ),
]
Accumulate = Annotated[
    int,
    option("Training", "Compute each batch in this many passes, to save memory.", min=1),
]
Resume = Annotated[
    bool, option("Training", "Continue from the checkpoint of a stopped training.", "--resume")
]
Output = Annotated[
    Path | None,
    option(
        "Output",
        "The weights file; default: the recipe's name with .safetensors.",
        "-o",
        "--output",
    ),
]
Compiled = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the training step; default: if training takes ten minutes or more.",
    ),
]


def command(
    recipe: Recipe,
    data: Data,
    val: Val = None,
    start_from: StartFrom = None,
    teacher: Teacher = None,
    steps: Steps = None,
    seed: Seed = None,
    time_limit: TimeLimit = None,
    self_supervised: SelfSupervised = False,
    accumulate: Accumulate = 1,
    resume: Resume = False,
    output: Output = None,
    overwrite: Overwrite = False,
    compiled: Compiled = None,
    device: OneDevice = "auto",
    precision: Precision = "auto",
    debug: Debug = False,
) -> None:
    """Train a network; with --resume, continue a training that was stopped.

    Several GPUs: torchrun --nproc-per-node 4 -m restore train ...
    """
    check_one_device(device, "train", SEVERAL)
    from restore.training.distributed import joined
    from restore.training.job import Job, run_job
    from restore.training.loop import Limits

    limit = parse_seconds(time_limit)
    changes = {key: value for key, value in (("steps", steps), ("seed", seed)) if value is not None}
    job = Job(
        recipe,
        changes,
        data,
        val,
        output=output,
        start_from=start_from,
        teacher=teacher,
        self_supervised=self_supervised,
        accumulate=accumulate,
        resume=resume,
        overwrite=overwrite,
        device=device,
        precision=precision,
    )
    with stopping() as stop, torch_quiet(debug), joined() as processes:
        events = run_job(job, Limits(limit, stop), compiled=compiled, processes=processes)
        written = show(events, limit, quiet=not processes.main)
    if processes.main:
        out().print(f"wrote {written}", soft_wrap=True)
