"""The losses of the epochs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from skswae.inspection import _drawing
from skswae.inspection._steps import Fitted


class LossCurveDisplay:
    """All terms of the loss by the epoch, with that of held-out rows where early stopping watched one.

    Make one with :meth:`from_estimator`, or from numbers by ``LossCurveDisplay(history=...).plot()``.

    Parameters
    ----------
    history : dict of str to ndarray of shape (n_epochs,)
        Terms by their names, as ``history_``; an epoch that lacks a term has NaN.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The lines, by the names of their terms.
    best_ : matplotlib Line2D or None
        The point of the lowest validation loss, if there is one.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skswae import AETransformer
    >>> from skswae.inspection import LossCurveDisplay
    >>> ae = AETransformer(2, max_iter=3, random_state=0).fit(load_iris().data)
    >>> display = LossCurveDisplay.from_estimator(ae)
    >>> len(display.history["loss"])
    3
    """

    def __init__(self, *, history):
        self.history = history

    @classmethod
    def from_estimator(cls, estimator, *, step=None, terms=None, yscale="auto", ax=None, line_kwargs=None):
        """Draw the losses of a fit.

        Parameters
        ----------
        estimator : object
            Fitted, with ``history_``, or a Pipeline with such a step.
        step : str or None, default=None
            Name of the pipeline's step that is the model. None: its only autoencoder.
        terms, yscale, ax, line_kwargs : optional
            As of :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        _drawing.import_pyplot(f"{cls.__name__}.from_estimator")
        model = Fitted(estimator, step, ("transform",)).model
        if not hasattr(model, "history_"):
            raise ValueError(
                "The 'estimator' argument must be an autoencoder with history_, or a Pipeline with one, "
                "which 'step' names; of a TableAutoencoder give its estimator_. "
                f"Got {type(model).__name__} instead."
            )
        history = {name: np.array(values) for name, values in model.history_.items()}
        return cls(history=history).plot(ax, terms=terms, yscale=yscale, line_kwargs=line_kwargs)

    def plot(self, ax=None, *, terms=None, yscale="auto", line_kwargs=None):
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a new figure.
        terms : sequence of str or None, default=None
            Which terms to draw. None: all that have a number.
        yscale : {"auto", "linear", "log"}, default="auto"
            "auto" is logarithmic if all terms are positive and the largest number is more than 5 times the
            smallest, and linear otherwise.
        line_kwargs : dict or None, default=None
            Arguments of matplotlib's ``plot`` for all lines.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If an argument cannot be used.
        ImportError
            If matplotlib cannot be imported.
        """
        known = list(self.history)
        names: Any = known if terms is None else [terms] if isinstance(terms, str) else terms
        names = list(names) if isinstance(names, Iterable) else []
        if not names or any(name not in known for name in names):
            raise ValueError(f"The 'terms' argument must be None or some of {known}. Got {terms!r} instead.")
        if not isinstance(yscale, str) or yscale not in ("auto", "linear", "log"):
            raise ValueError(
                f"The 'yscale' argument must be 'auto', 'linear' or 'log'. Got {yscale!r} instead."
            )
        self.ax_ = _drawing.get_axes(ax, f"{type(self).__name__}.plot")
        from matplotlib.lines import Line2D

        self.figure_ = self.ax_.figure
        values = {name: np.asarray(self.history[name], dtype=np.float64) for name in names}
        values = {name: v for name, v in values.items() if np.isfinite(v).any()}
        self.lines_: dict[str, Any] = {}
        for name, v in values.items():
            look: dict[str, Any] = {
                "label": name.replace("_", " "),
                "marker": "o" if len(v) <= 20 else None,
                "markersize": 3,
                "linewidth": 2.0 if name in ("loss", "validation_loss") else 1.2,
                "linestyle": "--" if name == "validation_loss" else "-",
            }
            look = _drawing.look(look, line_kwargs, Line2D)
            (self.lines_[name],) = self.ax_.plot(np.arange(1, len(v) + 1), v, **look)
        self.best_ = None
        if "validation_loss" in self.lines_:
            v = values["validation_loss"]
            best = int(np.nanargmin(v))
            (self.best_,) = self.ax_.plot(
                best + 1,
                v[best],
                marker="o",
                linestyle="none",
                markersize=9,
                markerfacecolor="none",
                color=self.lines_["validation_loss"].get_color(),
                label=f"lowest, epoch {best + 1}",
            )
        numbers = np.concatenate([v[np.isfinite(v)] for v in values.values()] or [np.ones(1)])
        wide = numbers.min() > 0 and numbers.max() > 5 * numbers.min()
        self.ax_.set_yscale(("log" if wide else "linear") if yscale == "auto" else yscale)
        if self.ax_.get_yscale() == "log" and numbers.max() < 1000 * numbers.min():  # labels at 1, 2, 5
            from matplotlib.ticker import LogLocator, StrMethodFormatter

            self.ax_.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            for set_formatter in (self.ax_.yaxis.set_major_formatter, self.ax_.yaxis.set_minor_formatter):
                set_formatter(StrMethodFormatter("{x:g}"))
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.set(xlabel="epoch", ylabel="mean over rows")
        if self.lines_:
            narrow = _drawing.width_in_inches(self.ax_) < _drawing.NARROW
            _drawing.legend_above(self.ax_, 2 if narrow else 6)
        return self
