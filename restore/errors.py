"""Every exception the package raises on purpose.

    RestoreError
    ├── InputError (ValueError)      an argument or an array that cannot be used
    ├── ImageError
    │   ├── ReadError                a picture file that cannot be read
    │   └── WriteError               a picture file that cannot be written
    ├── ModelError
    │   ├── UnknownModelError        no such name, no such file
    │   └── WeightsError             a file that is not a whole weights file of ours
    ├── OutOfMemoryError             not even the smallest tile fits
    └── TrainingError                a recipe, data folder or checkpoint that cannot be used

A message is one sentence: what is wrong and what would be right. The command line prints it and
ends with exit code 2; anything outside this tree is a defect and keeps its traceback.

The name and the version of the installed package are here too, for every room may need them.
"""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "restore-images"  # its name for pip; `restore` on PyPI is another project


def installed_version() -> str:
    """The version of the installed package; "unknown" where it runs from a folder."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


class RestoreError(Exception):
    """The root: catch this to catch everything the package raises on purpose."""


class InputError(RestoreError, ValueError):
    """An argument or an array that cannot be used."""


class ImageError(RestoreError):
    """A picture file that cannot be used."""


class ReadError(ImageError):
    """A picture file that cannot be read."""


class WriteError(ImageError):
    """A picture file that cannot be written."""


class ModelError(RestoreError):
    """A network that cannot be used."""


class UnknownModelError(ModelError):
    """No shipped model of that name, and no file there."""


class WeightsError(ModelError):
    """A file that is not a whole weights file of this package."""


class OutOfMemoryError(RestoreError):
    """Not even the smallest tile fits into the device's memory."""


class TrainingError(RestoreError):
    """A recipe, a data folder or a checkpoint that cannot be used."""
