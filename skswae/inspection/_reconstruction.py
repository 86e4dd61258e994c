"""Rows, their reconstructions, and what is left."""

from __future__ import annotations

from typing import Any

import numpy as np

from skswae.inspection import _drawing, _rows
from skswae.inspection._steps import Fitted


class ReconstructionDisplay(_rows.RowsDisplay):
    """Rows, their reconstructions, and the residuals.

    Make one with :meth:`from_estimator` or :meth:`from_arrays`; the parameters become attributes.

    Parameters
    ----------
    X, X_reconstructed : ndarray of shape (n_samples, n_features)
        Rows, and what the model makes of them. Colours and standard deviations are those of all rows of X,
        also where few are drawn.
    image_shape : tuple of int or None, default=None
        (channels, height, width) of rows that are images, flattened channel first.
    feature_names : sequence of str or None, default=None
        Names of the columns.

    Attributes
    ----------
    residuals : ndarray of shape (n_samples, n_features)
        ``X - X_reconstructed``.
    errors : ndarray of shape (n_samples,)
        Squared error of each row, summed over features: minus ``score_samples``, in the units of X.
    kind_ : {"image", "curve", "heatmap", "bar"}
        How the rows were drawn.
    ax_ : matplotlib Axes
        The axes, or the place of the panels.
    axes_ : ndarray of Axes
        The panels: of curves and bars, (rows, 2) with the residuals in the second column; else (1, 1).
    figure_ : matplotlib Figure

    See Also
    --------
    skswae.metrics.reconstruction_error : The mean error.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import AETransformer
    >>> from skswae.inspection import ReconstructionDisplay
    >>> X = load_digits().data[:200] / 16
    >>> ae = AETransformer(8, max_iter=2, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(ae, X[:10], image_shape=(8, 8))
    >>> display.errors.shape
    (10,)
    """

    def __init__(self, *, X, X_reconstructed, image_shape=None, feature_names=None):
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.image_shape = image_shape
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls, estimator, X, *, step=None, image_shape=None, n_rows=None, kind="auto", cmap=None, ax=None
    ):
        """Reconstruct rows and draw them.

        Parameters
        ----------
        estimator : object
            Fitted, or a Pipeline; see :mod:`skswae.inspection`.
        X : array-like of shape (n_samples, n_features)
            Rows, all of which are reconstructed.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of images. None: the network's, if it has one.
        n_rows, kind, cmap, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_estimator")
        _rows.check_kind(kind)
        fitted = Fitted(estimator, step, ("transform", "inverse_transform"))
        rebuilt = fitted.decode(fitted.encode(X))
        display = cls._checked(X, rebuilt, image_shape, _rows.names_of(X, estimator))
        display.image_shape = fitted.image_shape(display.X.shape[1], image_shape)
        return display.plot(ax, n_rows=n_rows, kind=kind, cmap=cmap)

    @classmethod
    def from_arrays(
        cls, X, X_reconstructed, *, image_shape=None, n_rows=None, kind="auto", cmap=None, ax=None
    ):
        """Draw rows and reconstructions that are there.

        Parameters
        ----------
        X, X_reconstructed : array-like of shape (n_samples, n_features)
            Rows, and reconstructions in the same order.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of rows that are images.
        n_rows, kind, cmap, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        display = cls._checked(X, X_reconstructed, image_shape, _rows.names_of(X))
        return display.plot(ax, n_rows=n_rows, kind=kind, cmap=cmap)

    @classmethod
    def _checked(cls, X: Any, rebuilt: Any, image_shape: Any, names: list[str] | None) -> Any:
        rows = _rows.checked_rows(X, "X")
        rebuilt = _rows.checked_rows(rebuilt, "X_reconstructed", rows)
        return cls(X=rows, X_reconstructed=rebuilt, image_shape=image_shape, feature_names=names)

    @property
    def residuals(self) -> np.ndarray:
        """X - X_reconstructed."""
        return self.X - self.X_reconstructed

    @property
    def errors(self) -> np.ndarray:
        """Squared error of each row, summed over features."""
        return np.square(self.residuals).sum(axis=1)

    def _bands(self) -> _rows.Bands:
        return {"row": self.X, "rebuilt": self.X_reconstructed}

    def _residuals(self) -> np.ndarray:
        return self.residuals
