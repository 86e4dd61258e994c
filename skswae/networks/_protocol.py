"""The protocol of a network: build its parts, compose those that it lacks, and check them."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import InvalidParameterError
from torch import Tensor, nn

from skswae._device import float32_by_default, own_settings
from skswae._random import forked_rng, initialized_from, make_generator
from skswae.networks._gated import GatedMLP
from skswae.networks._layers import GatedLayers, GatedLinear, Joined, Linear, gated_layers


def check_network(network: Any) -> Any:
    """Return the network that the ``network`` parameter means, or raise an error that says what is needed."""
    if network is None:
        return GatedMLP()
    needed = (
        "The 'network' parameter must be None or an instance with the methods "
        "build_encoder(n_features, n_outputs) and build_decoder(n_components, n_features), "
        "such as GatedMLP((300, 300))."
    )
    if isinstance(network, nn.Module):
        raise InvalidParameterError(
            f"{needed} Got an nn.Module ({type(network).__name__}) instead, which would be trained in place."
        )
    if isinstance(network, type):
        raise InvalidParameterError(f"{needed} Got the class {network.__name__} instead of an instance.")
    for method in ("build_encoder", "build_decoder"):
        if not callable(getattr(network, method, None)):
            raise InvalidParameterError(f"{needed} Got {network!r}, which has no {method}, instead.")
    if isinstance(network, BaseEstimator) and hasattr(network, "_parameter_constraints"):
        network._validate_params()
    return network


def draws_from_global_streams(network: Any) -> bool:
    """Tell whether the network is not this package's, so that it may draw from torch's global streams."""
    return not f"{type(network).__module__}.".startswith(f"{__package__}.")


def build(network: Any, role: str, inputs: tuple[int, ...], n_outputs: int, seed: int) -> nn.Module:
    """Build one part of a network, on the CPU, without moving a global stream; a user's is tried on two rows.

    ``role`` is "encoder", "decoder", "joint_encoder", "joint_decoder" or "conditional_prior"; the last
    three are composed where the network has no method for them. ``inputs`` are the widths of what the
    part is called with: one, or two for a joint part.

    Raises
    ------
    TypeError, ValueError
        If the method returns no ``nn.Module``, or one whose output has the wrong shape or type.
    MemoryError
        If a layer would have more weights than this machine has memory for.
    """
    with own_settings(), float32_by_default():
        if draws_from_global_streams(network):
            with forked_rng(seed), initialized_from(torch.default_generator):
                return _build(network, role, inputs, n_outputs)
        with initialized_from(make_generator(seed)):
            return _build(network, role, inputs, n_outputs)


def output_layer(network: nn.Module) -> nn.Linear | nn.Conv2d | None:
    """Return the layer that computes the network's output, to be zeroed at the start; None if unknown.

    It is found by structure alone: at the end of plain sequences and joined parts, with a torch layer's own
    forward and its own weights, all of them trained, none of them used by another layer.
    """
    if type(network) is Joined:
        return output_layer(network.rest)
    if isinstance(network, nn.Sequential) and type(network) in (nn.Sequential, GatedLayers):
        children = [child for child in network if not isinstance(child, nn.Flatten | nn.Identity)]
        layer = output_layer(children[-1]) if children else None
        used = [p for _, p in network.named_parameters(remove_duplicate=False)]
        shared = layer is not None and any(sum(p is q for q in used) > 1 for p in layer.parameters())
        return None if shared else layer
    if not isinstance(network, nn.Linear | nn.Conv2d):
        return None
    # a parametrised layer computes its weight, which is then no parameter
    plain = type(network).forward in (nn.Linear.forward, nn.Conv2d.forward)
    plain = plain and isinstance(network.weight, nn.Parameter)
    return network if plain and all(p.requires_grad for p in network.parameters()) else None


def _build(network: Any, role: str, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
    method = getattr(network, f"build_{role}", None)
    if not callable(method):
        return _compose(network, role, inputs, n_outputs).float().train()
    call = f"{type(network).__name__}.build_{role}({', '.join(map(str, (*inputs, n_outputs)))})"
    try:
        module = method(*inputs, n_outputs)
    except MemoryError as error:
        raise MemoryError(f"The 'network' parameter, {network!r}, cannot be built: {error}") from error
    except InvalidParameterError:  # names a parameter of the network
        raise
    except Exception as error:
        raise ValueError(
            f"The 'network' parameter must be such that {call} returns an nn.Module. "
            f"It raised: {type(error).__name__}: {error}"
        ) from error
    if not draws_from_global_streams(network):  # this package's are known to work, and keep nothing
        return module.float().train()
    return _copy_and_try(module, call, inputs, n_outputs)


def build_critic(n_inputs: int, layer_sizes: list[int], seed: int) -> nn.Module:
    """Build a network with ReLU from codes to one number: (n, n_inputs) -> (n, 1)."""
    sizes = [n_inputs, *map(int, layer_sizes)]
    layers: list[nn.Module] = []
    with float32_by_default(), initialized_from(make_generator(seed)):
        try:
            for n_in, n_out in itertools.pairwise(sizes):
                layers += [Linear(n_in, n_out), nn.ReLU()]
            return nn.Sequential(*layers, Linear(sizes[-1], 1)).float()
        except MemoryError as error:
            raise MemoryError(
                f"The 'critic_layer_sizes' parameter, {layer_sizes!r}, cannot be had: {error}"
            ) from error


_COMPOSED_SIZE = 300  # VampPrior's


def _compose(network: Any, role: str, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Compose a part of a two-level model from the parts that every network has; see ``skswae.networks``."""
    size = _COMPOSED_SIZE
    if role == "joint_encoder":
        n_features, n_upper = inputs
        features = _build(network, "encoder", (n_features,), size)
        return Joined(features, GatedLinear(n_upper, size), gated_layers([2 * size, size, n_outputs]))
    if role == "conditional_prior":
        return gated_layers([*inputs, size, size, n_outputs])
    if role == "joint_decoder":
        return Joined(nn.Identity(), nn.Identity(), _build(network, "decoder", (sum(inputs),), n_outputs))
    raise ValueError(f"No network has a part of the role {role!r}.")


def _copy_and_try(module: Any, call: str, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Return a copy of what ``call`` returned, in float32, once it has mapped rows of both dtypes."""
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"The 'network' parameter must be such that {call} returns an nn.Module. "
            f"Got {type(module).__name__} instead."
        )
    try:  # a module that the network keeps would be trained in place
        module = copy.deepcopy(module)
    except Exception as error:
        raise ValueError(
            f"The 'network' parameter must be such that {call} returns a module that copy.deepcopy can "
            f"copy (torch.nn.utils.parametrizations instead of the older hooks). "
            f"It raised: {type(error).__name__}: {error}"
        ) from error
    module = module.float().eval()  # float32 whatever torch's default is
    shapes = " and ".join(str((2, n)) for n in inputs)
    what, its = ("a tensor of shape", "input as it is")
    if len(inputs) > 1:
        what, its = ("tensors of shapes", "inputs as they are")
    for dtype, when in ((torch.float32, "for training"), (torch.float64, "for float64 rows")):
        needed = (
            f"The 'network' parameter must be such that {call} returns a module that maps {what} "
            f"{shapes} to one of {(2, n_outputs)}, in {dtype} {when}, and leaves its {its}."
        )
        trial = [torch.linspace(-1.0, 1.0, 2 * n, dtype=dtype).reshape(2, n) for n in inputs]
        before = [x.clone() for x in trial]
        used = module if dtype == torch.float32 else copy.deepcopy(module).double()
        with torch.no_grad():
            try:
                output = used(*trial)
            except Exception as error:
                raise ValueError(f"{needed} It raised: {type(error).__name__}: {error}") from error
        if not isinstance(output, Tensor):
            raise ValueError(f"{needed} Got {type(output).__name__} instead.")
        if output.shape != (2, n_outputs) or output.dtype != dtype:
            raise ValueError(f"{needed} Got {tuple(output.shape)} in {output.dtype} instead.")
        if not all(map(torch.equal, trial, before)):
            raise ValueError(f"{needed} It changed its input in place.")
    return module.train()
