"""The judgement of a fit: whether its codes tell more of the rows than their mean, and what may help."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skswae import _inference
from skswae._device import as_array
from skswae._random import named_seed
from skswae._warnings import warn
from skswae.data import ArrayData, _checks
from skswae.data._scaler import TrainingRows
from skswae.data._source import Subset, chunk_rows
from skswae.modules._base import AutoencoderModule
from skswae.modules._initialization import principal_components
from skswae.training._auto import AutoSettings
from skswae.training._callbacks import diverged

_ROWS = 2000
_NUMBERS = 2**20  # in memory at a time
# Shares of what principal components explain that count as nothing, as little, and as little if a
# component of the codes is as good as constant. Sound fits explain less than they do: VampPrior, with 2
# components of standard deviations from 0.15 on, 0.44 of it on uniform noise and 0.47 on the Swiss roll.
_NOTHING, _LITTLE, _LITTLE_IF_COLLAPSED = 0.1, 1 / 3, 0.5
_COLLAPSED = 0.1
_ALONE = 1 - 1e-8  # the other rows, together, are within 1e-4 of that one's distance
TRIAL_EPOCHS = 3  # nobody expects a model of them; "auto" means 4 at the least


@dataclass(frozen=True)
class Diagnosis:
    """Reconstruction of training rows.

    Attributes
    ----------
    n_rows : int
    error, linear_error : float
        Squared reconstruction error over that of the mean row: of the model, and of as many principal
        components of the same rows.
    narrowest : float
        Smallest standard deviation of a component of the codes; the start from PCA has a mean variance of 1,
        of SWAE often about a quarter.
    """

    n_rows: int
    error: float
    linear_error: float
    narrowest: float


def draw(rows: TrainingRows, seed: int) -> tuple[TrainingRows, float]:
    """Return at most 2,000 rows, drawn at random, and the size of what is no deviation from others."""
    drawn = rows.subset(_ROWS, named_seed(seed, "diagnosis"))
    largest = max(float(x.abs().max()) for x in drawn.batches())
    # what float32 rounds off, and what is left of constant rows once their mean is taken off
    return drawn, 1e-6 * max(largest, 1.0 if rows.scaler.location.any() else 0.0)


def one_row_is_all(rows: TrainingRows, drawn: TrainingRows, rounding: float) -> bool:
    """Return whether one of all rows makes up the squared distances from the median of those drawn."""
    few = next(drawn.batches(chunk_rows(rows.n_features, _NUMBERS)))
    median = torch.from_numpy(np.median(as_array(few), axis=0)).double()
    distances = np.concatenate([as_array((x - median).square().sum(dim=1)) for x in drawn.batches()])
    others = np.sort(distances)[:-1].sum()
    location, scale = rows.scaler.location, rows.scaler.scale
    source = rows.source
    while isinstance(source, Subset):  # whose rows are in the range of all
        source = source.source
    ends = [(end - location).abs() / scale + median.abs() for end in _checks.value_range(source)]
    if torch.maximum(*ends).square().sum() < others * _ALONE / (1.0 - _ALONE):
        return False  # no row can be so far, and looking at all of them costs many times as much
    total = farthest = 0.0
    for batch in rows.batches():
        distances = as_array((batch - median).square().sum(dim=1))  # (n,), in float64
        total += float(distances.sum())
        farthest = max(farthest, float(distances.max()))
    return farthest > max(_ALONE * total, rounding**2)


def diagnose(module: AutoencoderModule, drawn: TrainingRows, rounding: float, seed: int) -> Diagnosis | None:
    """Reconstruct the rows drawn; return None if all are alike.

    Raises
    ------
    FloatingPointError
        If a reconstruction is not finite.
    """
    k = module.n_components
    linear = principal_components(drawn, k, seed)
    if max(float((x - linear.mean).abs().max()) for x in drawn.batches()) <= rounding:
        return None

    def codes_and_rows(module: AutoencoderModule, x: Tensor) -> Tensor:
        z = module.encode_x(x)
        return torch.cat([z, module.head.compared(x, module.decode_x(z))], dim=1)

    error, codes = 0.0, []
    for x in map(as_array, drawn.batches(chunk_rows(drawn.n_features, _NUMBERS // 4))):
        try:
            found = _inference.apply(module, ArrayData(x), codes_and_rows, torch.float32).astype(np.float64)
        except ValueError as cause:  # the weights are finite, though hardly
            raise FloatingPointError("A reconstruction must be finite. Got an overflow.") from cause
        error += float(np.square(x - found[:, k:]).sum())
        codes.append(found[:, :k].copy())  # a view would keep all of it
    return Diagnosis(
        n_rows=len(drawn),
        error=error / (linear.total_variance * (linear.n_rows - 1)),
        linear_error=max(0.0, 1.0 - float(linear.variances.sum()) / linear.total_variance),
        narrowest=float(np.concatenate(codes).std(axis=0).min()),
    )


def warn_if_poor(
    estimator: Any, module: AutoencoderModule, rows: TrainingRows, *, n_epochs: int, in_parts: bool, seed: int
) -> None:
    """Warn if a training has come to nothing, and say what is likely to help.

    It has if the reconstructions are hardly better than the mean row. That they are much worse than those of
    as many principal components is said too, though with more margin, for an objective may want it; and
    only of enough rows, for few are all but spanned by the components, and of more than 3 epochs. A trial of
    so few from random weights is not judged at all.

    Parameters
    ----------
    estimator : BaseAutoencoder
        Its parameters, and what they were resolved to.
    module : AutoencoderModule
    rows : TrainingRows
        Those of the last training.
    n_epochs : int
        Number of epochs, earlier trainings included.
    in_parts : bool
        Whether ``partial_fit`` has called: that of the 10th epoch (not from random weights), the 100th and so
        on, earlier trainings included, is judged, if of enough rows.
    seed : int
        Seed of the rows drawn.
    """
    enough, trial = len(rows) > 5 * module.n_components, n_epochs <= TRIAL_EPOCHS
    if in_parts:
        first = 100 if estimator.init == "random" else 10  # a call may be one step
        judged = enough and n_epochs >= first and 10 ** round(math.log10(n_epochs)) == n_epochs
    else:
        judged = not (trial and estimator.init == "random")
    if not judged:
        return
    drawn, rounding = draw(rows, seed)
    try:
        found = diagnose(module, drawn, rounding, seed)
    except FloatingPointError as error:
        raise ValueError(diverged("a reconstruction of a training row", n_epochs - 1)) from error
    if enough and one_row_is_all(rows, drawn, rounding):
        warn(
            f"{type(estimator).__name__} was fitted to {len(rows)} rows, one of which is so far from the "
            "others that beside it they are all alike: so are their codes. What is likely to help: leave it "
            "out, or put a RobustScaler and a clip, or a QuantileTransformer, before this step.",
            ConvergenceWarning,
        )
        return
    if found is None:
        return
    explained = (1.0 - found.error) / (1.0 - found.linear_error)  # 1 is what principal components explain
    little = _LITTLE_IF_COLLAPSED if found.narrowest < _COLLAPSED else _LITTLE
    if explained >= (little if enough and not trial else _NOTHING):
        return
    if found.error > 1.05:
        how = "worse than their mean row does"
    elif explained < _NOTHING:
        how = "hardly better than their mean row does"
    else:
        how = "much worse than principal components do"
    k = module.n_components
    cures = "; ".join(_cures(estimator, module, len(rows), n_epochs, in_parts))
    warn(
        f"{type(estimator).__name__} reconstructs {found.n_rows} of its training rows {how}: with a squared "
        f"error of {found.error:.3g} where the mean row has 1, and {k} principal component{'s'[: k - 1]} "
        f"{found.linear_error:.2g}. The narrowest component of the codes has a standard deviation of "
        f"{found.narrowest:.2g}. What is likely to help: {cures}.",
        ConvergenceWarning,
    )


# numbers that may be too large, away from their defaults
_SMALLER = (
    *("kl_weight", "divergence_weight", "beta", "alpha", "learning_rate_init"),
    *("prior_scale_floor", "posterior_scale_floor", "input_noise", "neighbor_weight"),
)
_FEW_PSEUDO_INPUTS = 5


def _cures(estimator: Any, module: Any, n_rows: int, n_epochs: int, in_parts: bool) -> list[str]:
    """Return what may help: other values of the parameters that are suspect, the likeliest first."""
    defaults = {name: p.default for name, p in inspect.signature(type(estimator)).parameters.items()}
    auto = AutoSettings.resolve(
        n_rows, max_iter="auto", batch_size=estimator.batch_size, learning_rate_init="auto"
    )
    defaults["learning_rate_init"] = auto.learning_rate
    cures = []
    if estimator.scaling is None and estimator.out_activation_ == "identity":
        cures.append("scaling='auto'")
    if estimator.output_activation == "sigmoid":
        cures.append("output_activation='auto'")
    for name in _SMALLER:
        value: Any = getattr(estimator, name, None)
        usual: Any = defaults.get(name)
        # what "auto" means depends on the data: the module knows it
        if isinstance(usual, str):
            usual = getattr(module, f"auto_{name}", lambda: 0.0)()
        if isinstance(value, Real) and value > usual:
            cures.append(f"a smaller {name} (now {value:.6g})")
    K = getattr(estimator, "n_pseudo_inputs_", math.inf)
    if K <= _FEW_PSEUDO_INPUTS:
        cures.append(f"more pseudo-inputs (n_pseudo_inputs, now {K})")
    if getattr(estimator, "likelihood_", "gaussian") != "gaussian":
        cures.append("likelihood='gaussian'")
    if estimator.augment is not None:
        cures.append("an augment that leaves rows closer to those of X")
    if estimator.init == "random":
        cures.append("init='pca'")
    if n_epochs < auto.n_epochs or not cures:
        more = "calls of partial_fit (" if in_parts else "epochs (max_iter, "
        cures.append(f"more {more}now {n_epochs} in all)")
    return cures
