"""Fetchers of the paper's image sets, with the arguments and results of scikit-learn's."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skswae.datasets._cache import VARIABLE, Source, cache_folder, fetch, read
from skswae.datasets._sources import (
    CIFAR10,
    CIFAR10_SUB,
    COIL20,
    FASHION_MNIST,
    MNIST,
    SUB_CLASSES,
    SUB_MISSING,
)

_common_constraints: dict[str, Any] = {
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
}
_split_constraints: dict[str, Any] = {"subset": [StrOptions({"all", "train", "test"})], **_common_constraints}

_SHARED = """\
    data_home : str or path-like, default=None
        The cache folder. None is the folder that the environment variable ``SKSWAE_DATA`` names, or else
        ``skswae`` in :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        False raises OSError, instead of downloading, if the data are not in the cache folder.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : ndarray of shape (n_samples, {n_features}), uint8
            Pixels from 0 to 255, channel by channel and row by row.
        target : ndarray of shape (n_samples,), int64
            Labels from {first} to {last}.
        target_names : ndarray of shape ({n_names},)
            Names of these labels.
        image_shape : tuple
            ``{image_shape}``: channels, height, width.
        n_train : int
            Number of training rows, which come first; only if training and test rows are both there.
        DESCR : str
            Source, licence and citation.
        filename : str
            The file in the cache folder.

    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    ValueError
        If an argument is not one of those named above.
    OSError
        If the data are not in the cache folder and cannot be downloaded or written; the message says how to
        put them there by hand.
    ImportError
        If they have to be downloaded, and a package of the extra ``datasets`` is needed but not installed.
"""


def _document(source: Source, first: int = 0) -> Callable[[Callable], Callable]:
    """Put the text that the fetchers share in the place of a line {shared} in a docstring."""
    n_names = len(source.target_names)
    shared = _SHARED.format(
        n_features=int(np.prod(source.image_shape)),
        image_shape=source.image_shape,
        n_names=n_names,
        first=first,
        last=first + n_names - 1,
    )

    def document(fetcher: Callable) -> Callable:
        fetcher.__doc__ = (fetcher.__doc__ or "").replace("    {shared}\n", shared)
        return fetcher

    return document


@_document(MNIST)
@validate_params(_split_constraints, prefer_skip_nested_validation=True)
def fetch_mnist(*, subset="all", data_home=None, download_if_missing=True, return_X_y=False):
    """Load MNIST, 70,000 handwritten digits of 28 x 28 pixels.

    It is downloaded from OpenML the first time, and then read from the cache folder.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        The 60,000 training rows, the 10,000 test rows, or the one after the other.
    {shared}

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from skswae.datasets import fetch_mnist
    >>> X, y = fetch_mnist(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (60000, 784)
    """
    return _fetch_split(MNIST, subset, data_home, download_if_missing, return_X_y)


@_document(FASHION_MNIST)
@validate_params(_split_constraints, prefer_skip_nested_validation=True)
def fetch_fashion_mnist(*, subset="all", data_home=None, download_if_missing=True, return_X_y=False):
    """Load Fashion-MNIST, 70,000 articles of clothing of 28 x 28 pixels.

    It is downloaded from OpenML the first time, and then read from the cache folder.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        The 60,000 training rows, the 10,000 test rows, or the one after the other.
    {shared}

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> from skswae.datasets import fetch_fashion_mnist
    >>> clothes = fetch_fashion_mnist(subset="test")  # doctest: +SKIP
    >>> print(clothes.target_names[clothes.target[0]])  # doctest: +SKIP
    Ankle boot
    """
    return _fetch_split(FASHION_MNIST, subset, data_home, download_if_missing, return_X_y)


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

    CIFAR-10 is downloaded (170 MB) the first time, and then read from the cache folder. Where the file
    ``cifar10.npz`` is not there but ``cifar10_sub.npz`` is, and only birds, cats and ships are asked for,
    they are read from the latter, in which 19 test images of ships are missing; a warning says so. The
    Bunch has one more attribute ``n_missing``, the number of missing test images: 0, or 19.

    Parameters
    ----------
    classes : array-like of str or int, default=("bird", "cat", "ship")
        Names or numbers of the classes, each once: 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog,
        6 frog, 7 horse, 8 ship, 9 truck. Their order has no effect. The default is the paper's.
    subset : {"all", "train", "test"}, default="all"
        The training rows, 5,000 of each class, the test rows, 1,000 of each, or the one after the other.
    {shared}

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, University of
    Toronto, 2009.

    Examples
    --------
    >>> from skswae.datasets import fetch_cifar10_sub
    >>> X, y = fetch_cifar10_sub(classes=["dog"], subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (5000, 3072)
    """
    numbers = _class_numbers(classes)
    folder = cache_folder(data_home)
    source, more = CIFAR10, {"n_missing": 0}
    arrays = None
    if numbers <= SUB_CLASSES and not os.path.exists(folder / CIFAR10.filename):
        arrays = read(CIFAR10_SUB, folder, stacklevel=4)
    if arrays is None:
        arrays = fetch(CIFAR10, folder, download_if_missing)
    else:
        source = CIFAR10_SUB
        if subset != "train":
            more["n_missing"] = sum(SUB_MISSING.get(number, 0) for number in numbers)
    X, y, n_train = _part(arrays, subset)
    chosen = np.isin(y, list(numbers))
    if n_train:
        more["n_train"] = int(chosen[: n_train["n_train"]].sum())
    bunch = _bunch(source, folder, X[chosen], y[chosen], **more)
    if bunch.n_missing:
        missing = f"{bunch.n_missing} of CIFAR-10's 1,000 test images of ships are not in {source.filename}"
        bunch.DESCR += f"\n{missing}, which these rows come from.\n"
        warnings.warn(
            f"{missing}. For all of them fetch into another folder (data_home or {VARIABLE}), or put "
            f"{CIFAR10.filename} beside it.",
            UserWarning,
            stacklevel=3,
        )
    return (bunch.data, bunch.target) if return_X_y else bunch


@_document(COIL20, first=1)
@validate_params(_common_constraints, prefer_skip_nested_validation=True)
def fetch_coil20(*, data_home=None, download_if_missing=True, return_X_y=False):
    """Load COIL-20, 72 views of each of 20 objects, of 32 x 32 pixels.

    It is downloaded (12 MB) the first time, and then read from the cache folder.

    Parameters
    ----------
    {shared}

    References
    ----------
    S. A. Nene, S. K. Nayar, H. Murase, "Columbia Object Image Library (COIL-20)", technical report
    CUCS-005-96, Columbia University, 1996.

    Examples
    --------
    >>> from skswae.datasets import fetch_coil20
    >>> fetch_coil20().data.shape  # doctest: +SKIP
    (1440, 1024)
    """
    folder = cache_folder(data_home)
    arrays = fetch(COIL20, folder, download_if_missing)
    bunch = _bunch(COIL20, folder, arrays["X"], arrays["y"])
    return (bunch.data, bunch.target) if return_X_y else bunch


def _fetch_split(source: Source, subset: str, data_home: Any, download_if_missing: bool, return_X_y: bool):
    """Return the rows of a source that has training and test rows."""
    folder = cache_folder(data_home)
    X, y, n_train = _part(fetch(source, folder, download_if_missing, stacklevel=6), subset)
    bunch = _bunch(source, folder, X, y, **n_train)
    return (bunch.data, bunch.target) if return_X_y else bunch


def _part(arrays: dict[str, np.ndarray], subset: str) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Return the rows and labels of a subset and, for all of them, where the training rows end."""
    if subset != "all":
        return arrays[f"X_{subset}"], arrays[f"y_{subset}"], {}
    X, y = (np.concatenate([arrays[f"{name}_train"], arrays[f"{name}_test"]]) for name in "Xy")
    return X, y, {"n_train": len(arrays["y_train"])}


def _bunch(source: Source, folder: Path, X: np.ndarray, y: np.ndarray, **more: int) -> Bunch:
    return Bunch(
        data=X,
        target=y.astype(np.int64),  # differences of unsigned labels would wrap around
        target_names=np.array(source.target_names),
        image_shape=source.image_shape,
        DESCR=source.description,
        filename=str(folder / source.filename),
        **more,
    )


def _class_numbers(classes: Any) -> set[int]:
    """Return the numbers of the classes of CIFAR-10 that are asked for."""
    names = CIFAR10.target_names
    numbers = []
    for one in classes:
        if isinstance(one, str) and one in names:
            numbers.append(names.index(one))
        elif isinstance(one, int | np.integer) and not isinstance(one, bool) and 0 <= one < len(names):
            numbers.append(int(one))
        else:
            raise ValueError(
                f"The 'classes' parameter must hold names ({', '.join(names)}) or numbers from 0 to 9 of "
                f"CIFAR-10's classes. Got {one!r} instead."
            )
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"The 'classes' parameter must name at least one class, and each once. Got {classes!r} instead."
        )
    return set(numbers)
