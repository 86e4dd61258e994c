"""The model inside a pipeline, called in the units of the pipeline's input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skswae._estimator import BaseAutoencoder


class Fitted:
    """A fitted model and the steps before it.

    Parameters
    ----------
    estimator : object
        A fitted model, or a Pipeline with one.
    step : str or None
        Name of the pipeline's step that is the model. None: its only autoencoder, or its last step if it has
        none.
    needs : tuple of str
        Methods that the model must have.

    Raises
    ------
    ValueError
        If the argument that it names does not lead to such a model.
    NotFittedError
        If the model is not fitted.
    """

    def __init__(self, estimator: Any, step: str | None, needs: tuple[str, ...]):
        self.model, self.before = estimator, None
        if isinstance(estimator, Pipeline):
            position = _position(estimator, step)
            self.model = estimator.steps[position][1]
            self.before = estimator[:position] if position else None
        elif step is not None:
            raise ValueError(
                f"The 'step' argument must be None unless the estimator is a Pipeline. Got {step!r} and "
                f"{type(estimator).__name__} instead."
            )
        missing = [name for name in needs if not hasattr(self.model, name)]
        if missing or isinstance(self.model, type):
            got = self.model.__name__ if isinstance(self.model, type) else type(self.model).__name__
            raise ValueError(
                f"The 'estimator' argument must be a fitted model with {' and '.join(needs)}, or a Pipeline "
                f"with one, which 'step' names. Got {got}, without {' and '.join(missing)}, instead."
                if missing
                else f"The 'estimator' argument must be a fitted model. Got the class {got} instead."
            )
        check_is_fitted(self.model)
        self.name = type(self.model).__name__

    def inputs(self, X: Any) -> Any:
        """Return the rows as the model gets them."""
        return X if self.before is None else self.before.transform(X)

    def encode(self, X: Any) -> np.ndarray:
        """Return the codes of rows: (n, n_components)."""
        return np.asarray(self.model.transform(self.inputs(X)))

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Return the rows of codes: (n, n_features)."""
        return self.outputs(self.model.inverse_transform(Z))

    def outputs(self, rows: Any) -> np.ndarray:
        """Return rows of the model in the units of the pipeline's input."""
        if self.before is not None:
            try:
                inverse = self.before.inverse_transform
            except AttributeError as error:
                names = ", ".join(repr(name) for name, _ in self.before.steps)
                raise ValueError(
                    "The 'estimator' argument must be a Pipeline whose steps before the model have "
                    f"inverse_transform, to draw rows in the units of its input. Got {names}: {error}"
                ) from error
            rows = inverse(rows)
        return np.asarray(rows)

    def image_shape(self, n_features: int, given: Any) -> Any:
        """Return the shape given, or that of the network's images, if rows of so many features are such."""
        if given is not None:
            return given
        shape = getattr(getattr(self.model, "network", None), "image_shape", None)
        if not isinstance(shape, tuple | list) or len(shape) != 3 or shape[0] not in (1, 3):
            return None  # neither grey nor colours
        return tuple(shape) if math.prod(shape) == n_features else None


def _position(pipeline: Pipeline, step: str | None) -> int:
    """Return the place of the model among the steps."""
    names = [name for name, _ in pipeline.steps]
    if step is not None:
        if step not in names:
            raise ValueError(f"The 'step' argument must be one of {names}. Got {step!r} instead.")
        return names.index(step)
    ours = [i for i, (_, model) in enumerate(pipeline.steps) if isinstance(model, BaseAutoencoder)]
    if len(ours) > 1:
        several = [names[i] for i in ours]
        raise ValueError(
            f"The 'step' argument must name one of the autoencoders {several}. Got None instead."
        )
    return ours[0] if ours else len(names) - 1
