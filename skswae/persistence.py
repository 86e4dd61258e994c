"""Fitted models in files: one safetensors file that runs no code, and the types for skops to trust.

The guide's page "Saving and shipping a model" says which way suits what.
"""

from __future__ import annotations

import inspect
import json
import os
import stat
from collections.abc import Iterable
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

import skswae
from skswae import _state, datasets
from skswae import networks as package_networks
from skswae._device import resolve_device
from skswae._encoding import Decoder, Encoder
from skswae._estimator import BaseAutoencoder
from skswae._model_file import FORMAT_VERSION, looks_like, read, write
from skswae._parameters import SHARED_NAMES
from skswae._processes import is_first
from skswae._resume import module_parameters
from skswae._state import InconsistentVersionWarning, is_ours
from skswae._warnings import warn
from skswae._wrappers import WRAPPERS, unwrapped, wrapped
from skswae.networks._protocol import check_network

__all__ = ["FORMAT_VERSION", "TRUSTED_TYPES", "InconsistentVersionWarning", "load_model", "save_model"]

TRUSTED_TYPES = [
    *(f"skswae.{name}Transformer" for name in ("AE", "MIM", "SWAE", "VAE", "VampPrior", "WAE")),
    *(f"skswae.networks.{name}" for name in package_networks.__all__),
    "skswae.datasets.binarise",
    *WRAPPERS,
]
"""The types of this package that a fitted model consists of: what ``skops.io.load(path, trusted=...)`` needs.

Reading one of them runs no code that came with the file.
"""

# ---------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------


def save_model(estimator: BaseAutoencoder, path: str | os.PathLike) -> None:
    """Write a fitted estimator to one file, which :func:`load_model` reads without running code.

    The file is in the safetensors format: the numbers of the networks as they are, and a header in JSON with
    the versions, the class, the parameters and the fitted attributes. It is written beside itself and put in
    place at once, so that a crash or a full disk leaves what was there before. Of several processes that
    share a fit (under ``torchrun``) the one of rank 0 writes it, and the others return at once.

    Parameters
    ----------
    estimator : estimator of this package, or of a class derived from ``skswae.base.BaseAutoencoder``
        Fitted, on any device; also a :class:`~skswae.tabular.TableAutoencoder`, or an
        :class:`~skswae.outliers.OutlierDetector` of an autoencoder of rows of numbers. A network or a class
        of your own is stored by its name and parameters; whoever loads the file has to have the class.
    path : path-like
        A file in a folder that exists; one that is there is replaced. The usual suffix is ``.safetensors``.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no such estimator; of a pipeline, store the steps, or all of it with skops.
    ValueError
        If a parameter or attribute is of a kind that a file without code cannot hold, or ``module_`` was
        changed to something else than its parameters describe.
    OSError
        If the file cannot be written.

    Warns
    -----
    UserWarning
        If ``augment`` is a function of your own, or ``random_state`` a RandomState or a Generator. They are
        left out, and None in the loaded model; only further training needs them.

    See Also
    --------
    load_model : The way back.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from skswae import AETransformer, load_model, save_model
    >>> X = load_iris().data
    >>> ae = AETransformer(2, max_iter=5, random_state=0).fit(X)
    >>> path = os.path.join(tempfile.mkdtemp(), "iris.safetensors")
    >>> save_model(ae, path)
    >>> bool((load_model(path).transform(X) == ae.transform(X)).all())
    True
    """
    named = type(estimator).__name__
    wrapper, estimator = unwrapped(estimator)
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            "The 'estimator' argument must be an estimator of this package: of a pipeline, save the step, or "
            "all of it with skops.io.dump; of a search, its best_estimator_; a TableAutoencoder, which finds "
            f"outliers itself, without an OutlierDetector around it. Got {named} instead."
        )
    check_is_fitted(estimator)
    estimator._validate_params()  # some may have been set since the fit, and nothing else could be loaded
    check_network(estimator.network)
    header, tensors = _described(estimator, wrapper)
    if not is_first():
        return
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    write(path, text, tensors, type(estimator).__name__)


def _described(
    estimator: BaseAutoencoder, wrapper: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a fitted estimator, and what wraps it, as JSON and tensors."""
    kind = type(estimator)
    state = estimator.__getstate__()
    module, version = state.pop("module_"), state.pop(_state.VERSION_KEY)
    if isinstance(module, nn.Module):
        raise ValueError(
            f"The module_ of {kind.__name__} must be one that its parameters build again, for a model file. "
            "Got one with a part replaced, a hook or an attribute set, another type of numbers, or a network "
            "that keeps in Python what training has changed: a pickle can hold it."
        )
    encoder = Encoder(_known())
    state["_fitted_parameters"] = dict(state["_fitted_parameters"])
    dropped = []
    if state.get("augment") is not None and encoder.name(state["augment"]) is None:
        dropped.append("augment")
    if isinstance(state.get("random_state"), np.random.RandomState | np.random.Generator):
        dropped.append("random_state")
    for attribute, name in (("_metadata_request", "metadata request"), ("_skl_callbacks", "callbacks")):
        if state.pop(attribute, None) is not None:
            dropped.append(name)
    _check_attributes(kind, {name: v for name, v in state.items() if name not in kind._get_param_names()})
    for name in dropped:
        for parameters in (state, state["_fitted_parameters"]):
            if name in parameters:
                parameters[name] = None
    if dropped:
        warn(
            f"A model file holds no {' and no '.join(dropped)} of this kind: the loaded {kind.__name__} has "
            "none. Only further training needs it."
        )
    described = encoder.mapping(state, "state")
    module["other"] = encoder.mapping(module["other"], "module")
    arrays = {id(value): _as_tensor(value) for value in module["tensors"].values()}  # ties stay ties
    module["tensors"] = encoder.mapping(
        {name: arrays[id(value)] for name, value in module["tensors"].items()}, "module"
    )
    header = {
        "format": FORMAT_VERSION,
        "versions": {
            "skswae": version,
            "torch": str(torch.__version__),
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        "class": encoder.name(kind) or kind.__qualname__,
        "state": described,
        "module": module,
    }
    if wrapper is not None:
        header["wrapper"] = encoder.mapping(wrapper, "wrapper")
    return header, encoder.tensors


def _as_tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


# ---------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------


def load_model(
    path: str | os.PathLike, *, device: str | torch.device = "auto", networks: Iterable[type] | None = None
) -> Any:
    """Load an estimator from a file that :func:`save_model` has written.

    No code of the file's is run: names in it are looked up in this package's list and in ``networks``, and
    never imported. The module is built from the parameters in the header and given the numbers of the file,
    which is mapped into memory, not read into it. The file's checksum finds damage; it is no signature.

    Parameters
    ----------
    path : path-like
        The file.
    device : str or torch.device, default="auto"
        The ``device`` of the loaded estimator, in place of the one that it had where it was saved.
    networks : iterable of classes or None, default=None
        Your own classes that the file speaks of: of networks, or of an estimator derived from
        ``skswae.base.BaseAutoencoder``. They are found by their ``__qualname__``; their code is run.

    Returns
    -------
    estimator : object
        Fitted; its results are those of the estimator that was saved, to the bit on the same machine.
        Training goes on as that of an unpickled one does, with the optimisers' state anew.

    Raises
    ------
    ValueError
        If the file is no model file, damaged, of a newer format, or speaks of a class that is neither this
        package's nor in ``networks``; or if ``device`` is not there.
    OSError
        If the file cannot be read.

    Warns
    -----
    InconsistentVersionWarning
        If another version of this package has written the file.

    See Also
    --------
    save_model : Write the file.

    Examples
    --------
    >>> from skswae import load_model
    >>> model = load_model("digits.safetensors", device="cpu")  # doctest: +SKIP
    """
    resolve_device(device)
    known = {**_given(networks), **_known()}
    path = os.fsdecode(path)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"The 'path' argument must be that of a file. Got {path!r}, which is none.")
    with open(path, "rb"):  # what the system says of it, in its words
        pass
    try:
        header, tensors = read(path)
    except Exception as error:  # whatever a file of something else makes of it
        raise ValueError(
            "The 'path' argument must be that of a whole file that skswae.save_model has written. Got "
            f"{path!r}: {looks_like(path) or _said(error)}"
        ) from error
    try:
        estimator = _made(header, tensors, known, device)
    except Exception as error:  # whatever a file that somebody made up makes of it
        raise ValueError(f"The model in {path!r} cannot be loaded: {_said(error)}") from error
    return estimator


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{error} ({type(error).__name__})"


def _known() -> dict[str, Any]:
    """Return this package's classes and functions that a file may speak of, by their public names."""
    places = {"skswae": skswae, "skswae.networks": package_networks, "skswae.datasets": datasets}
    found = {}
    for name in set(TRUSTED_TYPES) - set(WRAPPERS):
        place, _, own = name.rpartition(".")
        found[name] = getattr(places[place], own)
    return found


def _given(networks: Iterable[type] | None) -> dict[str, type]:
    """Return the user's classes by their names."""
    found: dict[str, type] = {}
    if networks is not None and (isinstance(networks, str | type) or not isinstance(networks, Iterable)):
        raise ValueError(f"The 'networks' argument must be a list of classes. Got {networks!r}.")
    for kind in [] if networks is None else networks:
        if not inspect.isclass(kind):
            raise ValueError(f"The 'networks' argument must hold classes. Got {kind!r}.")
        if found.setdefault(kind.__qualname__, kind) is not kind:
            raise ValueError(f"The 'networks' argument must hold one class of the name {kind.__qualname__}.")
    return found


# what every fitted estimator has, and what some have
_ATTRIBUTES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(["n_features_in_", "n_iter_", "batch_size_"], int),
    "learning_rate_init_": (int, float),
    "early_stopping_": bool,
    "learning_rate_": str,
    "out_activation_": str,
    "input_components_": int,
    "history_": dict,
    "_seed": int,
    "_fitted_parameters": dict,
}
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "feature_names_in_": np.ndarray,
    "likelihood_": str,
    "_sklearn_output_config": dict,
    **dict.fromkeys(["n_pseudo_inputs_", "warmup_"], int),
    "_rows_seen": np.ndarray,
    "_columns": dict,
}


def _made(header: dict[str, Any], tensors: dict[str, Tensor], known: dict[str, Any], device: Any) -> Any:
    """Return the estimator that a header and tensors describe, on that device."""
    kind = known.get(header["class"])
    if not inspect.isclass(kind) or not issubclass(kind, BaseAutoencoder):
        raise ValueError(
            f"it holds a {header['class']!r}, which is none of this package's: pass the class in 'networks', "
            "if you trust it"
        )
    decoder = Decoder(tensors, known)
    state = decoder.mapping(header["state"])
    if {"beta", "warmup"} <= {*kind._get_param_names()} and "warmup" not in state:  # from before SWAE had one
        state |= {"warmup": 0, "warmup_": 0}
    parameters = {name: state.pop(name) for name in kind._get_param_names() if name in state}
    estimator = kind(**parameters)
    parameters = estimator.get_params(deep=False)
    _check_attributes(kind, state)
    fitted = state["_fitted_parameters"]
    state["_fitted_parameters"] = {**module_parameters(estimator), **fitted}
    as_fitted = {name: value for name, value in fitted.items() if name in parameters}
    for values in (parameters, {**parameters, **as_fitted, "random_state": None}):
        candidate = kind(**values)
        candidate._validate_params()
        check_network(candidate.network)
    module = dict(header["module"])
    module["tensors"] = decoder.mapping(module["tensors"])
    module["other"] = decoder.mapping(module["other"])
    wrapper = decoder.mapping(header["wrapper"]) if "wrapper" in header else None
    if unused := set(tensors) - decoder.used:
        raise ValueError(f"it holds tensors that belong to nothing: {', '.join(sorted(unused))}")
    version = str(header["versions"]["skswae"])
    estimator.__setstate__({**parameters, **state, _state.VERSION_KEY: version, "module_": module})
    estimator.device = device
    return estimator if wrapper is None else wrapped(wrapper, estimator)


def _check_attributes(kind: type, state: dict[str, Any]) -> None:
    """Raise ValueError unless these are a fitted estimator's attributes, and hide none of its class's."""
    for name, value in state.items():
        if name in SHARED_NAMES:  # of a class that has not all of them
            continue
        known = name in _ATTRIBUTES or name in _OPTIONAL
        if hasattr(kind, name) or not (known or (not is_ours(kind) and name.strip("_") != name)):
            raise ValueError(
                f"A model file of {kind.__name__} holds its parameters and what fit has set, and of a class "
                "of your own other attributes that begin or end with an underscore. Got the attribute "
                f"{name!r}: delete it, or keep it elsewhere."
            )
        expected = _ATTRIBUTES.get(name, _OPTIONAL.get(name, object))
        if not isinstance(value, expected):
            raise ValueError(f"its {name} is a {type(value).__name__}")
    missing = sorted(set(_ATTRIBUTES) - set(state))
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    n_iter, history = state["n_iter_"], state["history_"]
    terms = [value for value in history.values() if isinstance(value, np.ndarray)]
    if "loss" not in history or any(term.shape != (n_iter,) for term in terms) or len(terms) < len(history):
        raise ValueError("its history_ is none of that many epochs")
    if len(state.get("feature_names_in_", range(state["n_features_in_"]))) != state["n_features_in_"]:
        raise ValueError("its feature_names_in_ are more or fewer than its features")
    if state["out_activation_"] not in ("identity", "sigmoid"):
        raise ValueError(f"its out_activation_ is {state['out_activation_']!r}")
