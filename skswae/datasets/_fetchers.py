"""Fetchers of the paper's image sets, with the arguments and results of scikit-learn's."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skswae._warnings import warn
from skswae.datasets._cache import VARIABLE, Arrays, Source, cache_folder, fetch, read
from skswae.datasets._sources import CIFAR10, CIFAR10_SUB, COIL20, FASHION_MNIST, MNIST

_common_constraints: dict[str, Any] = {
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
}
_split_constraints: dict[str, Any] = {"subset": [StrOptions({"all", "train", "test"})], **_common_constraints}

_SHARED = """\
    data_home : str or path-like, default=None
        The cache folder, in which the first call puts the data. None is the folder that the environment
        variable ``SKSWAE_DATA`` names, or else ``skswae`` in :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        False raises OSError, instead of downloading, if the data are not in the cache folder.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch` or tuple
        With ``data`` (uint8 of shape (n_samples, {n_features}): pixels from 0 to 255, channel by channel and
        row by row), ``target`` (int64 labels from {first} to {last}), ``target_names`` (their names),
        ``image_shape`` (``{image_shape}``: channels, height, width), ``DESCR`` (source, licence and
        citation), ``filename`` (in the cache folder) and, if training and test rows are both there,
        ``n_train`` (the number of training rows, which come first).

    Raises
    ------
    OSError, ImportError
        If the data are not in the cache folder and cannot be downloaded or written (the message says how to
        put them there by hand), or the extra ``datasets``, which that needs, is not installed.

    References
    ----------
{citation}
"""


def _document(source: Source, first: int = 0) -> Callable[[Callable], Callable]:
    """Put the text that the fetchers share in the place of a line {shared} in a docstring."""
    shared = _SHARED.format(
        n_features=int(np.prod(source.image_shape)),
        image_shape=source.image_shape,
        first=first,
        last=first + len(source.target_names) - 1,
        citation=textwrap.indent(textwrap.fill(source.citation, 106), "    "),
    )

    def document(fetcher: Callable) -> Callable:
        fetcher.__doc__ = (fetcher.__doc__ or "").replace("    {shared}\n", shared)
        return fetcher

    return document


@_document(MNIST)
@validate_params(_split_constraints, prefer_skip_nested_validation=True)
def fetch_mnist(*, subset="all", data_home=None, download_if_missing=True, return_X_y=False):
    """Load MNIST, 70,000 handwritten digits of 28 x 28 pixels, from OpenML.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        The 60,000 training rows, the 10,000 test rows, or the one after the other.
    {shared}

    Examples
    --------
    >>> from skswae.datasets import fetch_mnist
    >>> X, y = fetch_mnist(subset="train", return_X_y=True)  # doctest: +SKIP
    """
    folder = cache_folder(data_home)
    return _result(MNIST, folder, fetch(MNIST, folder, download_if_missing), return_X_y, subset)


@_document(FASHION_MNIST)
@validate_params(_split_constraints, prefer_skip_nested_validation=True)
def fetch_fashion_mnist(*, subset="all", data_home=None, download_if_missing=True, return_X_y=False):
    """Load Fashion-MNIST, 70,000 articles of clothing of 28 x 28 pixels, from OpenML.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        The 60,000 training rows, the 10,000 test rows, or the one after the other.
    {shared}

    Examples
    --------
    >>> from skswae.datasets import fetch_fashion_mnist
    >>> clothes = fetch_fashion_mnist(subset="test")  # doctest: +SKIP
    """
    folder = cache_folder(data_home)
    arrays = fetch(FASHION_MNIST, folder, download_if_missing)
    return _result(FASHION_MNIST, folder, arrays, return_X_y, subset)


@_document(CIFAR10)
@validate_params({"classes": ["array-like"], **_split_constraints}, prefer_skip_nested_validation=True)
def fetch_cifar10_sub(
    *,
    classes=("bird", "cat", "ship"),
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
):
    """Load some classes of CIFAR-10, colour images of 32 x 32 pixels.

    The download has 170 MB. Where the cache folder has ``cifar10_sub.npz`` and no ``cifar10.npz``, birds,
    cats and ships are read from the former, in which 19 test images of ships are missing; a warning says so.
    The Bunch has one more attribute ``n_missing``, the number of missing test images: 0, or 19.

    Parameters
    ----------
    classes : array-like of str or int, default=("bird", "cat", "ship")
        Names or numbers of the classes, each once: 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog,
        6 frog, 7 horse, 8 ship, 9 truck. Their order has no effect. The default is the paper's.
    subset : {"all", "train", "test"}, default="all"
        The training rows, 5,000 of each class, the test rows, 1,000 of each, or the one after the other.
    {shared}

    Examples
    --------
    >>> from skswae.datasets import fetch_cifar10_sub
    >>> X, y = fetch_cifar10_sub(classes=["dog"], subset="train", return_X_y=True)  # doctest: +SKIP
    """
    numbers = _class_numbers(classes)
    folder = cache_folder(data_home)
    source, arrays, n_missing = CIFAR10, None, 0
    if {2, 3, 8}.issuperset(numbers) and not os.path.exists(folder / CIFAR10.filename):
        arrays = read(CIFAR10_SUB, folder)
    if arrays is None:
        arrays = fetch(CIFAR10, folder, download_if_missing)
    else:
        source = CIFAR10_SUB
        n_missing = 19 if 8 in numbers and subset != "train" else 0
    arrays = {key: rows[np.isin(arrays["y" + key[1:]], numbers)] for key, rows in arrays.items()}
    result = _result(source, folder, arrays, return_X_y, subset, n_missing=n_missing)
    if n_missing:
        missing = f"{n_missing} of CIFAR-10's 1,000 test images of ships are not in {source.filename}"
        if not return_X_y:
            result.DESCR += f"\n{missing}, which these rows come from.\n"
        warn(
            f"{missing}. For all of them fetch into another folder (data_home or {VARIABLE}), or put "
            f"{CIFAR10.filename} beside it.",
            UserWarning,
        )
    return result


@_document(COIL20, first=1)
@validate_params(_common_constraints, prefer_skip_nested_validation=True)
def fetch_coil20(*, data_home=None, download_if_missing=True, return_X_y=False):
    """Load COIL-20, 72 views of each of 20 objects, of 32 x 32 pixels: a download of 12 MB.

    Parameters
    ----------
    {shared}

    Examples
    --------
    >>> from skswae.datasets import fetch_coil20
    >>> objects = fetch_coil20()  # doctest: +SKIP
    """
    folder = cache_folder(data_home)
    return _result(COIL20, folder, fetch(COIL20, folder, download_if_missing), return_X_y)


def _result(
    source: Source, folder: Path, arrays: Arrays, return_X_y: bool, subset: str = "all", **more: int
) -> Any:
    """Return a Bunch, or rows and labels, of the parts of a data set that are asked for."""
    parts = [key[1:] for key in source.shapes if key[0] == "X" and subset in ("all", key[2:])]
    X, y = (np.concatenate([arrays[name + part] for part in parts]) for name in "Xy")
    y = y.astype(np.int64)  # differences of unsigned labels would wrap around
    if return_X_y:
        return X, y
    if len(parts) == 2:
        more["n_train"] = len(arrays["y_train"])
    return Bunch(
        data=X,
        target=y,
        target_names=np.array(source.target_names),
        image_shape=source.image_shape,
        DESCR=f"{source.description}\nCite: {source.citation}\n",
        filename=str(folder / source.filename),
        **more,
    )


def _class_numbers(classes: Any) -> list[int]:
    """Return the numbers of the classes of CIFAR-10 that are asked for."""
    names = CIFAR10.target_names
    numbers = [names.index(one) if isinstance(one, str) and one in names else one for one in classes]
    known = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and 0 <= n <= 9 for n in numbers)
    if not known or not 0 < len(numbers) == len(set(numbers)):
        raise ValueError(
            "The 'classes' parameter must hold at least one, and each once, of the names "
            f"({', '.join(names)}) or numbers from 0 to 9 of CIFAR-10's classes. Got {classes!r} instead."
        )
    return numbers
