"""Data sets as the tables' experiments see them: split, binarised or grey, with the rows that are coded."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import joblib
import numpy as np
import pandas as pd
from configurations import DATA, Data
from sklearn.datasets import load_digits

from skswae import datasets

SEED = 777  # of the validation and test rows' draws, in the authors' code


@dataclass(frozen=True)
class Split:
    """Rows and labels of one trial.

    Attributes
    ----------
    X_train : ndarray of shape (n_train, d), float32 or float64
        Grey levels, where ``augment`` draws zeros and ones from them.
    X_coded : ndarray of shape (n_train, d)
        The training rows whose codes the neighbours are among: one draw where the data are binary.
    X_val, X_test : ndarray of shapes (n_val, d) and (n_test, d)
    y_train, y_test : ndarray or None
    augment : callable or None
        For the estimators' parameter of that name.
    image_shape : tuple of int or None
    clamp : bool
        Whether decoded rows are held within [1/512, 511/512].
    digest : str
        Of all arrays.
    """

    X_train: np.ndarray
    X_coded: np.ndarray
    X_val: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray | None
    y_test: np.ndarray | None
    augment: Callable | None
    image_shape: tuple[int, ...] | None
    clamp: bool
    digest: str


def load(name: str, trial: int, data_home: str | None = None) -> Split:
    """Load a data set of :data:`configurations.DATA`, or a file of your own, for one trial.

    Parameters
    ----------
    name : str
        A key of ``DATA``, or the path of a .csv, .npy or .npz file: see :func:`read_file`.
    trial : int
        Seed of a random split, and of the binary draw of the coded training rows.
    data_home : path-like or None
        Folder of the data sets' files; see :mod:`skswae.datasets`.
    """
    if name not in DATA:
        return _own(name, trial)
    treatment = DATA[name]
    X, y, n_train, image_shape = _pixels(treatment.source, data_home)
    y = y.astype(np.int64)
    if treatment.split == "held_out":
        end = n_train - treatment.n_validation
        train, val, test = slice(0, end), slice(end, n_train), slice(n_train, None)
    else:
        order = np.random.RandomState(trial).permutation(len(X))
        assert treatment.n_test is not None
        start = len(X) - treatment.n_test
        train, val, test = np.split(order, [start - treatment.n_validation, start])
    unit = _in_unit_interval(X, treatment)
    X_train, X_val, X_test = (np.ascontiguousarray(unit[part]) for part in (train, val, test))
    X_coded, augment = X_train, None
    if treatment.binary:
        rng = np.random.RandomState(SEED)
        X_val, X_test = datasets.binarised(X_val, rng), datasets.binarised(X_test, rng)
        X_coded, augment = datasets.binarised(X_train, trial), datasets.binarise
    parts = (X_train, X_coded, X_val, X_test, y[train], y[test])
    return Split(*parts, augment, image_shape, treatment.clamp, joblib.hash(parts))


def _in_unit_interval(X: np.ndarray, treatment: Data) -> np.ndarray:
    if treatment.source == "digits":
        return (X / 16).astype(np.float32)
    X = X.astype(np.float32)
    return (X + 0.5) / 256 if treatment.half_steps else X / 255


@functools.lru_cache(maxsize=2)
def _pixels(source: str, data_home: str | None) -> tuple[np.ndarray, np.ndarray, int, tuple[int, ...]]:
    """Return rows, labels, the number of training rows, and the shape of an image."""
    if source == "digits":
        X, y = load_digits(return_X_y=True)
        return X, y, len(X), (1, 8, 8)
    bunch = getattr(datasets, f"fetch_{source}")(data_home=data_home)
    return bunch.data, bunch.target, bunch.get("n_train", len(bunch.data)), tuple(bunch.image_shape)


# ---------------------------------------------------------------------------
# Files of one's own
# ---------------------------------------------------------------------------


MIN_ROWS = 40  # a fifth is tested with, and neighbours are looked for among them


def read_file(path: str, target: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Read rows and labels from a file.

    Parameters
    ----------
    path : path-like
        ``.npy``: an array of rows. ``.npz``: arrays X and, if there are labels, y. ``.csv``: a line of
        column names, then numbers; the column ``target``, of any kind, holds the labels.
    target : str or None
        That column's name.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
    y : ndarray of shape (n_samples,) or None

    Raises
    ------
    ValueError
        If the file holds anything else.
    """
    suffix = pathlib.Path(path).suffix
    y = None
    if suffix == ".npy":
        X = np.load(path)
    elif suffix == ".npz":
        with np.load(path) as arrays:
            if "X" not in arrays:
                raise ValueError(f"{path} must hold an array X. Got {sorted(arrays)}.")
            X, y = arrays["X"], arrays.get("y")
    elif suffix == ".csv":
        X, y = _read_csv(path, target)
    else:
        raise ValueError(f"--data must be a data set's name or a .csv, .npy or .npz file. Got {path!r}.")
    if X.ndim > 2:
        X = X.reshape(len(X), -1)
    if X.ndim != 2 or (y is not None and len(y) != len(X)):
        raise ValueError(
            f"{path} must hold rows, and as many labels. Got the shapes {X.shape}, {np.shape(y)}."
        )
    X = X.astype(np.float64)
    if not np.isfinite(X).all():
        raise ValueError(f"{path} must hold finite numbers. Got NaN or infinity.")
    if len(X) < MIN_ROWS:
        raise ValueError(f"{path} must hold at least {MIN_ROWS} rows. Got {len(X)}.")
    return X, y


def _read_csv(path: str, target: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a table of numbers, of which one column may hold labels of any kind."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path} must start with a line of column names. Got an empty file.") from error
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} must have as many columns in each row. {error}") from error
    if len(table.columns) == 1 and ";" in table.columns[0]:
        raise ValueError(f"{path} must have commas between its columns. Got semicolons.")
    if not isinstance(table.index, pd.RangeIndex) or any(table.columns.str.match(r"Unnamed: \d+$")):
        raise ValueError(
            f"{path} must have a name for each column. Got one without: a column of row numbers? "
            "(pandas: to_csv(..., index=False))"
        )
    if target is not None and target not in table:
        raise ValueError(f"--target must be a column of {path}: {', '.join(table)}. Got {target!r}.")
    y = None if target is None else table.pop(target).to_numpy(dtype=str)
    numbers = table.apply(pd.to_numeric, errors="coerce")
    for name in table.columns[numbers.isna().any()]:
        row = int(numbers[name].isna().to_numpy().argmax())
        raise ValueError(
            f"{path} must hold numbers in every column but the labels', which --target names. "
            f"Got {table[name][row]!r} in column {name!r}, row {row + 1}."
        )
    return table.to_numpy().astype(np.float64), y


own_files: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
"""Rows and labels by name, for :func:`load`."""


def _own(name: str, trial: int) -> Split:
    X, y = own_files[name]
    rng = np.random.RandomState(trial)
    train, test = np.split(rng.permutation(len(X)), [len(X) - max(1, len(X) // 5)])
    labels = (None, None) if y is None else (y[train], y[test])
    parts = (X[train], X[train], X[:0], X[test], *labels)
    return Split(*parts, None, None, False, joblib.hash(parts))
