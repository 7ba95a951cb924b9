"""`restore export`: a model as a file for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore.cli import checks
from restore.cli.console import Debug, examples, flag, out, rows
from restore.errors import InputError, WriteError
from restore.models import folders

EPILOG = examples(
    "restore export denoise-photo --format onnx",
    "restore export upscale-x2 --format openvino -o upscaler.xml",
)
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}  # without torch


def command(
    model: Annotated[str, typer.Argument(help="A name from `restore models`, or a weights file.")],
    file_format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="onnx, openvino or torch-export.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The file to write; for openvino, its weights are beside it.",
            show_default="the model's name, here",
        ),
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", "Replace the file if it is there.")] = False,
    debug: Debug = False,
) -> None:
    """Write a model as a file that other runtimes run, for pictures of any size.

    The file holds the model card. It is written only if it gives what PyTorch gives.
    """
    if file_format not in SUFFIXES:
        raise InputError(f"'{file_format}' is not a format; choose one of {', '.join(SUFFIXES)}")
    model = checks.check_model(model)
    named = Path(model)
    name = named.stem if named.suffix.lower() in folders.SUFFIXES else named.name
    path = Path(name + SUFFIXES[file_format])
    path = path if output is None else checks.local(output)
    for made in (path, path.with_suffix(".bin")) if file_format == "openvino" else (path,):
        if made.exists() and not overwrite:
            raise WriteError(f"{made} exists; pass --overwrite, or another name with -o")
    from restore.models.export import OPSET, export_model
    from restore.models.weights import load_model

    done = export_model(load_model(model), file_format, path, overwrite=overwrite)
    out().print(f"{model} -> {done.path}", soft_wrap=True)
    lines = {"checked": f"in {done.runtime}: at most {done.difference:.1e} from PyTorch"}
    if file_format != "torch-export":
        lines["opset"] = str(OPSET)
    rows(lines)
