"""Latent-variable models: the parameters and methods that VAE, VampPrior and MIM share."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from skswae._constraints import Number, Scale
from skswae._estimator import BaseAutoencoder
from skswae._random import draw_seed, make_generator
from skswae.data import DataSource, _checks
from skswae.modules._latent_variable import LatentVariableModule


class BaseLatentVariableModel(BaseAutoencoder):
    """An autoencoder that is a latent-variable model: the parameters of its likelihood and its weights."""

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "likelihood": [StrOptions({"auto", "bernoulli", "gaussian", "discretized_logistic"})],
        "likelihood_scale": [StrOptions({"shared", "per_feature"})],
        "n_bins": [Number(Integral, 2, 2048, closed="both")],
        "warmup": [Number(Integral, 0, None, closed="left")],
        "posterior_scale_floor": [Scale(or_zero=True)],
    }

    _structural_parameters = (
        *BaseAutoencoder._structural_parameters,
        "likelihood",
        "likelihood_scale",
        "n_bins",
        "posterior_scale_floor",
    )

    likelihood: str
    likelihood_: str
    likelihood_scale: str
    n_bins: int
    posterior_scale_floor: float
    warmup: int

    def sample_posterior(self, X, *, random_state=None):
        """Draw a code of each row from its posterior q(z | x), whose mean :meth:`transform` gives.

        What papers often evaluate in place of the means; a classifier or decoder of such codes sees their
        noise as well.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        random_state : int, RandomState or Generator instance, or None, default=None
            None draws afresh in each call; pass an int to repeat, with rows of the same dtype.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Computed in, and of, float32 if X is of it, else float64.
        """
        data = self._validate_rows(X)
        generator = make_generator(draw_seed(random_state), self._module_on_device().device)

        def draw(module: Any, rows: Tensor) -> Tensor:
            return module.draw_posterior(module.scaler.standardize(rows), generator)[0]

        return self._apply(data, draw)

    def _resolve(self, data: DataSource, n_rows: int, known_epochs: int | None) -> None:
        self.likelihood_ = self.likelihood
        if self.likelihood == "auto":
            binary = self.output_activation != "identity" and _checks.is_binary(data)
            self.likelihood_ = "bernoulli" if binary else "gaussian"

    def _needs_unit_interval(self) -> bool:
        return self.likelihood_ in ("bernoulli", "discretized_logistic")

    def _check_parameters(self) -> None:
        if self.likelihood in ("bernoulli", "discretized_logistic") and self.output_activation == "identity":
            raise ValueError(
                f"The 'output_activation' parameter must be 'sigmoid' or 'auto' with "
                f"likelihood={self.likelihood!r}. Got 'identity' instead."
            )

    def _check_rows(self, data: DataSource) -> None:
        other = "or use likelihood='gaussian' in a first fit or partial_fit, which fixes it"
        self._check_range(
            data,
            int(self.n_bins),
            f"put a MinMaxScaler before this step and clip what it leaves outside later, {other}",
            f"set n_bins to what the data have, {other}",
        )

    def _check_range(self, data: DataSource, n_bins: int, if_outside: str, if_between: str) -> None:
        """Raise ValueError, with what would help, for rows that the likelihood does not know."""
        if not self._needs_unit_interval():
            return
        needed = f"X must suit likelihood={self.likelihood_!r}, which is for rows"
        low, high = _checks.value_range(data)
        if not _checks.in_unit_range(data, (low, high)):
            raise ValueError(f"{needed} in [0, 1]: {if_outside}. Got values from {low!r} to {high!r}.")
        if self.likelihood_ == "discretized_logistic" and not _checks.on_a_grid(data, n_bins):
            raise ValueError(
                f"{needed} with values j / (L - 1) or (j + 1/2) / L, L = n_bins = {n_bins}: {if_between}. "
                "Got values between them."
            )


class BaseELBOModel(BaseLatentVariableModel):
    """A model that maximises the evidence lower bound: the weight of its divergence, and log p(x)."""

    _parameter_constraints: dict = {
        **BaseLatentVariableModel._parameter_constraints,
        "kl_weight": [Number(Real, 0, 1e30, closed="left")],
    }

    module_: LatentVariableModule
    kl_weight: float

    def log_likelihood(self, X, n_importance_samples=100, *, random_state=None):
        """Estimate log p(x) of each row by importance sampling from the posterior.

        The estimate is below log p(x) in expectation, by less the more samples there are; one sample gives
        the ELBO (Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_importance_samples : int, default=100
            Codes drawn for each row; 5,000 is customary in papers.
        random_state : int, RandomState or Generator instance, or None, default=None
            None draws afresh in each call; pass an int to repeat.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            In nats. Of the Gaussian likelihood a log-density in the units of X, of the others a
            log-probability; a Bernoulli's of values between 0 and 1 is the cross-entropy's and normalises
            nothing.

        Raises
        ------
        ValueError
            If ``n_importance_samples`` is not an integer of at least 1, the rows lie outside the range of
            the likelihood, or a result overflows.
        """
        data = self._validate_rows(X)
        S = n_importance_samples
        if not isinstance(S, Integral) or isinstance(S, bool) or S < 1:
            raise ValueError(
                f"The 'n_importance_samples' argument must be an integer of at least 1. Got {S!r} instead."
            )
        n_bins = self._fitted_parameters["n_bins"]
        rounded = f"numpy.rint(X * {n_bins - 1}) / {n_bins - 1} has the nearest ones"
        self._check_range(data, n_bins, "numpy.clip(X, 0, 1) has the nearest ones", rounded)
        generator = make_generator(draw_seed(random_state), self._module_on_device().device)

        def log_likelihood(module: Any, rows: Tensor) -> Tensor:
            x = module.scaler.standardize(rows)
            found = module.importance_log_likelihood(x, int(S), generator)
            if module.head.is_density:  # from the module's units to the user's
                found = found - x.shape[1] * module.scaler.scale.log().to(x.dtype)
            return found

        return self._apply(data, log_likelihood, n_rows=64)
