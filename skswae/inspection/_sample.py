"""Samples beside the training rows that they are most like."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from skswae._device import own_settings
from skswae.inspection import _drawing, _rows
from skswae.inspection._steps import Fitted


class SampleDisplay(_rows.RowsDisplay):
    """Samples, and the training row nearest to each: whether they look real, and whether they are copies.

    Make one with :meth:`from_estimator` or :meth:`from_arrays`; the parameters become attributes.

    Parameters
    ----------
    X_generated, X_nearest : ndarray of shape (n_samples, n_features)
        Rows drawn from a model, and the nearest training row of each.
    nearest : ndarray of int of shape (n_samples,)
        Index of that training row.
    distances : ndarray of shape (n_samples,)
        Euclidean distance to it: in a pipeline, between rows as the model gets them.
    image_shape : tuple of int or None, default=None
        (channels, height, width) of rows that are images, flattened channel first.
    feature_names : sequence of str or None, default=None
        Names of the columns.

    Attributes
    ----------
    kind_ : {"image", "curve", "heatmap", "bar"}
        How the rows were drawn.
    ax_ : matplotlib Axes
        The axes, or the place of the panels.
    axes_ : ndarray of Axes
        The panels: of curves and bars, (rows, 1); else (1, 1).
    figure_ : matplotlib Figure

    See Also
    --------
    skswae.metrics.nearest_row_ratio : Whether samples are nearer to training rows than new rows are.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import AETransformer
    >>> from skswae.inspection import SampleDisplay
    >>> X = load_digits().data[:200] / 16
    >>> ae = AETransformer(8, max_iter=2, random_state=0).fit(X)
    >>> display = SampleDisplay.from_estimator(ae, X, image_shape=(8, 8), random_state=0)
    >>> display.X_generated.shape
    (10, 64)
    """

    def __init__(self, *, X_generated, X_nearest, nearest, distances, image_shape=None, feature_names=None):
        self.X_generated = X_generated
        self.X_nearest = X_nearest
        self.nearest = nearest
        self.distances = distances
        self.image_shape = image_shape
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X_train,
        *,
        n_samples=10,
        random_state=None,
        sample_kwargs=None,
        step=None,
        image_shape=None,
        n_rows=None,
        kind="auto",
        cmap=None,
        ax=None,
    ):
        """Draw samples of a model, and look for their nearest training rows.

        Parameters
        ----------
        estimator : object
            Fitted, with a method ``sample``, or a Pipeline; see :mod:`skswae.inspection`.
        X_train : array-like of shape (n_train_samples, n_features)
            The rows that it was fitted to.
        n_samples : int, default=10
            How many rows to draw.
        random_state : int, RandomState or Generator instance, or None, default=None
            Seed of the samples.
        sample_kwargs : dict or None, default=None
            Further arguments of ``sample``, such as ``{"prior": "gmm"}``.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of images. None: the network's, if it has one.
        n_rows, kind, cmap, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : SampleDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_estimator")
        _rows.check_kind(kind)
        fitted = Fitted(estimator, step, ("sample",))
        further = _rows.check_sample_kwargs(sample_kwargs)
        drawn = fitted.model.sample(n_samples, random_state=random_state, **further)
        names = _rows.names_of(X_train, estimator)
        inside = np.asarray(drawn), np.asarray(fitted.inputs(X_train))
        display = cls._found(fitted.outputs(drawn), X_train, inside, image_shape, names)
        display.image_shape = fitted.image_shape(display.X_generated.shape[1], image_shape)
        return display.plot(ax, n_rows=n_rows, kind=kind, cmap=cmap)

    @classmethod
    def from_arrays(
        cls, X_generated, X_train, *, image_shape=None, n_rows=None, kind="auto", cmap=None, ax=None
    ):
        """Draw samples that are there, and look for their nearest training rows.

        Parameters
        ----------
        X_generated, X_train : array-like of shape (n_samples, n_features)
            Rows drawn from a model, and the rows that it was fitted to.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of rows that are images.
        n_rows, kind, cmap, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : SampleDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        names = _rows.names_of(X_train)
        display = cls._found(X_generated, X_train, (X_generated, X_train), image_shape, names)
        return display.plot(ax, n_rows=n_rows, kind=kind, cmap=cmap)

    @classmethod
    def _found(
        cls,
        X_generated: Any,
        X_train: Any,
        inside: tuple[Any, Any],
        image_shape: Any,
        names: list[str] | None,
    ) -> Any:
        """Look for the nearest rows among those that the model gets."""
        train = _rows.checked_rows(X_train, "X_train")
        generated = _rows.checked_rows(X_generated, "X_generated", n_features=train.shape[1])
        targets = _rows.checked_rows(inside[1], "X_train")
        drawn = _rows.checked_rows(inside[0], "X_generated", n_features=targets.shape[1])
        origin = np.median(targets, axis=0)  # amid the rows: the search multiplies rows
        with own_settings():
            nearest = pairwise_distances_argmin(drawn - origin, targets - origin)
        return cls(
            X_generated=generated,
            X_nearest=train[nearest],
            nearest=nearest,
            distances=np.linalg.norm(drawn - targets[nearest], axis=1),
            image_shape=image_shape,
            feature_names=names,
        )

    _one = "sample"

    def _reference(self) -> np.ndarray:
        return self.X_nearest

    def _bands(self) -> _rows.Bands:
        return {"sample": self.X_generated, "nearest": self.X_nearest}
