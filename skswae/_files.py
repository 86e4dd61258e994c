"""Files that are whole or as they were."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import stat
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike, suffix: str | None = None) -> Iterator[pathlib.Path]:
    """Give the block a new file to write, beside ``path``, and put it in place of ``path`` after it.

    A block that fails, a crash, a full disk and a power cut leave what was at ``path``. A link is followed.

    Parameters
    ----------
    path : path-like
    suffix : str or None, default=None
        What is put after the name of ``path`` for the new file: what a killed process has left there is
        written over. None gives it a name of its own, so that several processes may write at once.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written.
    """
    target = pathlib.Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"The path must be that of a file. Got the folder {os.fspath(path)!r}.")
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp" if suffix is None else target.name + suffix)
    try:
        if suffix is not None:
            beside.unlink(missing_ok=True)
        with open(beside, "xb") as file:
            mode = (target if target.exists() else beside).stat().st_mode
        yield beside
        os.chmod(beside, stat.S_IMODE(mode))  # the block may have made the file anew
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())  # else the new name may reach the disk before the content
        os.replace(beside, target)
    finally:
        with contextlib.suppress(OSError):  # which would hide what went wrong
            beside.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # systems without files for folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
