"""Every exception the package raises on purpose.

    RestoreError
    ├── InputError (ValueError)      an argument or an array that is not valid
    ├── ImageError
    │   ├── ReadError                a picture file that cannot be read
    │   │   └── UnknownFormatError   a file of a format that is never read
    │   └── WriteError               a picture file that cannot be written
    ├── ModelError
    │   ├── UnknownModelError        neither the name of a shipped model nor a file
    │   └── WeightsError             a file that is not a complete weights file of this package
    ├── OutOfMemoryError             not even the smallest tile fits
    └── TrainingError                a recipe, data folder or checkpoint that cannot be used

A message is one sentence: what is wrong and what would be right. The command line prints it and
exits with code 2; any other exception is a bug and keeps its traceback.

The name and version of the distribution are here too, because every module may need them.
"""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "restore-images"  # not `restore`, which is another project on PyPI


def installed_version() -> str:
    """The version of the installed package; "unknown" if it is run from a source folder."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


class RestoreError(Exception):
    """The base class of every exception the package raises on purpose."""


class InputError(RestoreError, ValueError):
    """An argument or an array that is not valid."""


class ImageError(RestoreError):
    """A picture file that cannot be used."""


class ReadError(ImageError):
    """A picture file that cannot be read."""


class UnknownFormatError(ReadError):
    """A file of a format that is never read, or no picture at all."""


class WriteError(ImageError):
    """A picture file that cannot be written."""


class ModelError(RestoreError):
    """A network that cannot be used."""


class UnknownModelError(ModelError):
    """Neither the name of a shipped model nor a file."""


class WeightsError(ModelError):
    """A file that is not a complete weights file of this package."""


class OutOfMemoryError(RestoreError):
    """Not even the smallest tile fits into the device's memory."""


class TrainingError(RestoreError):
    """A recipe, a data folder or a checkpoint that cannot be used."""
