"""Clean rows, noisy ones, and what the model makes of these."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from skswae.inspection import _drawing, _rows
from skswae.inspection._steps import Fitted
from skswae.metrics._checks import make_rng
from skswae.metrics._reconstruction import add_noise, check_clip


class DenoisingDisplay(_rows.RowsDisplay):
    """Rows, the same with noise, and the reconstructions of these: Figure 6 of the SWAE paper.

    Make one with :meth:`from_estimator` or :meth:`from_arrays`; the parameters become attributes.

    Parameters
    ----------
    X, X_noisy, X_reconstructed : ndarray of shape (n_samples, n_features)
        Clean rows, noisy ones, and the reconstructions of the noisy ones.
    image_shape : tuple of int or None, default=None
        (channels, height, width) of rows that are images, flattened channel first.
    feature_names : sequence of str or None, default=None
        Names of the columns.

    Attributes
    ----------
    noise_error, error : float
        Mean squared distance of the clean rows from the noisy ones, and from the reconstructions, which is
        :func:`skswae.metrics.denoising_error`. A model that removes noise has the smaller second.
    kind_ : {"image", "curve", "heatmap", "bar"}
        How the rows were drawn.
    ax_ : matplotlib Axes
        The axes, or the place of the panels.
    axes_ : ndarray of Axes
        The panels: of curves and bars, (rows, 1); else (1, 1).
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skswae import AETransformer
    >>> from skswae.inspection import DenoisingDisplay
    >>> X = load_digits().data[:200] / 16
    >>> ae = AETransformer(8, max_iter=2, random_state=0).fit(X)
    >>> display = DenoisingDisplay.from_estimator(ae, X[:10], image_shape=(8, 8), random_state=0)
    >>> bool(display.error < display.noise_error)
    True
    """

    def __init__(self, *, X, X_noisy, X_reconstructed, image_shape=None, feature_names=None):
        self.X = X
        self.X_noisy = X_noisy
        self.X_reconstructed = X_reconstructed
        self.image_shape = image_shape
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        noise=0.3,
        clip=None,
        random_state=None,
        step=None,
        image_shape=None,
        n_rows=None,
        kind="auto",
        cmap=None,
        ax=None,
    ):
        """Add noise to rows, reconstruct them, and draw all.

        Parameters
        ----------
        estimator : object
            Fitted, or a Pipeline; see :mod:`skswae.inspection`.
        X : array-like of shape (n_samples, n_features)
            Clean rows, held out.
        noise : float or array-like of shape (n_features,), default=0.3
            Standard deviation of the noise in the units of X, which is the pipeline's input; at least 0. For
            columns of several units give one for each, such as ``0.3 * X.std(axis=0)``.
        clip : tuple of (low, high) or None, default=None
            Range to which the noisy rows are clipped.
        random_state : int, RandomState or Generator instance, or None, default=None
            Seed of the noise.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of images. None: the network's, if it has one.
        n_rows, kind, cmap, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : DenoisingDisplay

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
        rows = _rows.checked_rows(X, "X")
        scale = np.asarray(noise, dtype=object)
        if scale.shape not in ((), (rows.shape[1],)) or not all(map(_is_scale, scale.ravel())):
            raise ValueError(
                f"The 'noise' argument must be a number of at least 0, or {rows.shape[1]} of them, one for "
                f"each feature. Got {noise!r} instead."
            )
        check_clip(clip)
        noisy = add_noise(X, np.asarray(noise, dtype=np.float64), clip, make_rng(random_state))
        rebuilt = fitted.decode(fitted.encode(noisy))
        names = _rows.names_of(X, estimator)
        display = cls._checked(X, noisy, rebuilt, image_shape, names)
        display.image_shape = fitted.image_shape(rows.shape[1], image_shape)
        return display.plot(ax, n_rows=n_rows, kind=kind, cmap=cmap)

    @classmethod
    def from_arrays(
        cls, X, X_noisy, X_reconstructed, *, image_shape=None, n_rows=None, kind="auto", cmap=None, ax=None
    ):
        """Draw rows that are there.

        Parameters
        ----------
        X, X_noisy, X_reconstructed : array-like of shape (n_samples, n_features)
            Clean rows, noisy ones and reconstructions in the same order.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of rows that are images.
        n_rows, kind, cmap, ax : optional
            As of :meth:`plot`.

        Returns
        -------
        display : DenoisingDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        display = cls._checked(X, X_noisy, X_reconstructed, image_shape, _rows.names_of(X))
        return display.plot(ax, n_rows=n_rows, kind=kind, cmap=cmap)

    @classmethod
    def _checked(cls, X: Any, noisy: Any, rebuilt: Any, image_shape: Any, names: list[str] | None) -> Any:
        rows = _rows.checked_rows(X, "X")
        return cls(
            X=rows,
            X_noisy=_rows.checked_rows(noisy, "X_noisy", rows),
            X_reconstructed=_rows.checked_rows(rebuilt, "X_reconstructed", rows),
            image_shape=image_shape,
            feature_names=names,
        )

    @property
    def noise_error(self) -> float:
        """Mean squared distance of the clean rows from the noisy ones."""
        return float(np.square(self.X - self.X_noisy).sum(axis=1).mean())

    @property
    def error(self) -> float:
        """Mean squared distance of the clean rows from the reconstructions."""
        return float(np.square(self.X - self.X_reconstructed).sum(axis=1).mean())

    _faint = "with noise"

    def _bands(self) -> _rows.Bands:
        return {"row": self.X, "with noise": self.X_noisy, "rebuilt": self.X_reconstructed}


def _is_scale(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < np.inf
