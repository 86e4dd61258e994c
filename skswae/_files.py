"""Files that are whole or as they were."""

from __future__ import annotations

import contextlib
import errno
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
    target = pathlib.Path(os.path.realpath(os.fsdecode(path)))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "This is a folder or a device, not a file", os.fspath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "The folder of this file does not exist", os.fspath(path))
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp" if suffix is None else target.name + suffix)
    try:
        if suffix is not None:
            beside.unlink(missing_ok=True)
        with open(beside, "xb"):
            mode = (target if target.exists() else beside).stat().st_mode
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())  # else the new name may reach the disk before the content
        with contextlib.suppress(OSError):  # some file systems have no modes
            os.chmod(beside, stat.S_IMODE(mode))  # the block may have made the file anew
        os.replace(beside, target)
    except OSError as error:
        if error.filename == os.fspath(beside):  # which the caller does not know
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):  # which would hide what went wrong
            beside.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # systems without files for folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
