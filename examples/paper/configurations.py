"""What is run: data sets, models, and presets. Data only; everything else is in the files beside it.

A preset names cells, data sets with their values of dim-z, and settings. A setting is a pattern of data sets,
a pattern of models (as in a shell: ``*`` for anything), and parameters; later settings override earlier
ones. What no setting names is the class's default.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from skswae.networks import DCGANNet, GatedConvNet, GatedMLP

# ---------------------------------------------------------------------------
# Models: the columns of the paper's tables, and two more
# ---------------------------------------------------------------------------

# key, as in file names and on the command line: heading, class of skswae, parameters of its own
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "swae-1": ("SWAE(beta=1)", "SWAETransformer", {"beta": 1.0}),
    "swae-0.5": ("SWAE(beta=0.5)", "SWAETransformer", {"beta": 0.5}),
    "swae-0": ("SWAE(beta=0)", "SWAETransformer", {"beta": 0.0}),
    "vae": ("VAE", "VAETransformer", {}),
    "wae-gan": ("WAE-GAN", "WAETransformer", {"divergence": "gan"}),
    "wae-mmd": ("WAE-MMD", "WAETransformer", {"divergence": "mmd"}),
    "vampprior": ("VampPrior", "VampPriorTransformer", {}),
    "mim": ("MIM", "MIMTransformer", {"sampling": "symmetric"}),
    # not in the paper
    "ae": ("AE", "AETransformer", {}),
    "pca": ("PCA", "sklearn.decomposition:PCA", {}),
}
BETAS = (0.25, 0.75, 0.9)  # for the ablation of beta, beside 0, 0.5 and 1
MODELS |= {f"swae-{beta}": (f"SWAE(beta={beta})", "SWAETransformer", {"beta": beta}) for beta in BETAS}

IN_PAPER = ("swae-1", "swae-0.5", "swae-0", "vae", "wae-gan", "wae-mmd", "vampprior", "mim")
DEFAULT_MODELS = (*IN_PAPER, "ae", "pca")
LATENT = ("vae", "vampprior", "mim")  # whose codes have a posterior to draw from

# ---------------------------------------------------------------------------
# Data sets
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """How a data set is read, split and treated."""

    source: str  # of skswae.datasets, without "fetch_"; or "digits", scikit-learn's
    split: str  # "held_out": the data set's own test rows; "random": drawn anew in each trial
    binary: bool = False  # draw zeros and ones: training rows in each step, test rows once
    half_steps: bool = False  # pixels are (v + 1/2) / 256 instead of v / 255
    n_validation: int = 0  # the last so many training rows, or so many random ones
    n_test: int | None = None  # for random splits
    clamp: bool = False  # reconstructions and samples to [1/512, 511/512]
    paper: str | None = None  # name in the paper's tables


DATA = {
    "mnist": Data("mnist", "held_out", binary=True, n_validation=10_000, paper="MNIST"),
    "fashion_mnist": Data(
        "fashion_mnist", "held_out", binary=True, n_validation=10_000, paper="Fashion-MNIST"
    ),
    "coil20": Data("coil20", "random", n_validation=200, n_test=200, clamp=True, paper="COIL20"),
    "cifar10_sub": Data(
        "cifar10_sub", "held_out", half_steps=True, n_validation=2_971, clamp=True, paper="CIFAR10-sub"
    ),
    # grey levels as they are
    "mnist-grey": Data("mnist", "held_out", n_validation=10_000),
    "fashion_mnist-grey": Data("fashion_mnist", "held_out", n_validation=10_000),
    # scikit-learn's, for trials
    "digits": Data("digits", "random", n_validation=200, n_test=400),
    "digits-binary": Data("digits", "random", binary=True, n_validation=200, n_test=400),
}

# ---------------------------------------------------------------------------
# Presets
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Preset:
    """Cells and settings."""

    purpose: str
    cells: dict[str, tuple[int, ...]]
    trials: int
    settings: list[tuple[str, str, dict[str, Any]]]
    n_samples: int = 2_000  # drawn from each model; the paper's number
    models: tuple[str, ...] = DEFAULT_MODELS

    def parameters(self, data: str, model: str) -> dict[str, Any]:
        """Return a model's parameters on a data set; a user's own file matches ``*`` alone."""
        found: dict[str, Any] = {}
        data = data if data in DATA else ""
        for data_pattern, model_pattern, parameters in self.settings:
            if fnmatchcase(data, data_pattern) and fnmatchcase(model, model_pattern):
                found |= parameters
        return found | MODELS[model][2]


TABLE_1 = {
    "mnist": (8, 40, 80),
    "fashion_mnist": (8, 40, 80),
    "coil20": (8, 40, 80),
    "cifar10_sub": (80, 256, 512),
}
SMALL = {name: dims for name, dims in TABLE_1.items() if name != "cifar10_sub"}

# what the data, not the models, ask for
LIKELIHOODS: list[tuple[str, str, dict[str, Any]]] = [
    (data, model, {"likelihood": likelihood})
    for data, likelihood in {
        "*mnist": "bernoulli",
        "*-binary": "bernoulli",
        "*-grey": "discretized_logistic",
        "coil20": "discretized_logistic",
        "cifar10_sub": "discretized_logistic",
    }.items()
    for model in LATENT
]

# the objectives of the papers in each step, not cheaper estimates of them
EXACT: list[tuple[str, str, dict[str, Any]]] = [
    *[("*", model, {"n_pseudo_inputs_per_step": "all"}) for model in ("vampprior", "mim")],
    ("*", "mim", {"prior_draws_per_row": 1.0}),
    ("*", "swae-*", {"warmup": 0}),
]

# the paper's alpha is a weight of squared errors of pixels in [0, 1]
PAPER_ALPHA: list[tuple[str, str, dict[str, Any]]] = [
    (data, "swae-*", {"scaling": None}) for data in ("*mnist*", "coil20", "cifar10_sub")
]

# networks of the paper: VampPrior's for the others, the WAE paper's for the two WAEs
GREY_28, GREY_32, COLOUR_32 = (1, 28, 28), (1, 32, 32), (3, 32, 32)
PAPER_NETWORKS: list[tuple[str, str, dict[str, Any]]] = [
    (data, model, {"network": network(image_shape=shape), "init": "random"})
    for data, shape in {"*mnist*": GREY_28, "coil20": GREY_32, "cifar10_sub": COLOUR_32}.items()
    for model, network in {"*": GatedConvNet, "wae-*": DCGANNet}.items()
]
# of sizes that the paper names; sampling as in the paper
PAPER_SIZES: list[tuple[str, str, dict[str, Any]]] = [
    ("*", "swae-*", {"n_pseudo_inputs": 4000, "pseudo_input_weights": "uniform", "prior_scale": "learned"}),
    ("*", "swae-*", {"prior_scale_floor": 0.0498}),  # exp(-3), the authors' code; the text names none
    ("coil20", "swae-*", {"n_pseudo_inputs": 500}),
    *[("*", model, {"n_pseudo_inputs": 500}) for model in ("vampprior", "mim")],
    *[("*", model, {"posterior_scale_floor": 0.0498}) for model in LATENT],
    # the code of the WAE paper: lambda 10 on 0.05 times the error, noise 0.01 on pixels, four layers
    ("*", "wae-*", {"divergence_weight": 200.0, "input_noise": 0.04, "critic_penalty": 0.0}),
    ("*", "wae-gan", {"critic_layer_sizes": (512, 512, 512, 512), "critic_learning_rate_init": 5e-4}),
]

PRESETS = {
    "smoke": Preset(
        "Whether everything works: digits, tiny networks, under a minute.",
        {"digits": (2,), "digits-binary": (2,)},
        trials=1,
        n_samples=200,
        settings=[
            *LIKELIHOODS,
            *EXACT,
            ("*", "*", {"network": GatedMLP((32,)), "max_iter": 6}),
            ("*", "vampprior", {"n_pseudo_inputs": 20}),
            # its codes collapse under a Bernoulli likelihood in so few epochs
            ("*", "mim", {"n_pseudo_inputs": 20, "likelihood": "gaussian", "max_iter": 12}),
        ],
    ),
    "cpu": Preset(
        "Table 1 without CIFAR10-sub in a day of two cores: GatedMLP, PCA's start, few epochs.",
        SMALL,
        trials=1,
        settings=[
            *LIKELIHOODS,
            *EXACT,
            *PAPER_ALPHA,
            ("*", "*", {"network": GatedMLP((300, 300))}),
            ("*mnist*", "*", {"max_iter": 20}),
            ("coil20", "*", {"max_iter": 80}),
            ("*mnist*", "swae-*", {"n_pseudo_inputs": 500}),
            ("coil20", "swae-*", {"n_pseudo_inputs": 500}),
            *[
                (data, model, {"n_pseudo_inputs": K})
                for data, K in {"*": 20, "*mnist*": 500, "coil20": 100}.items()
                for model in ("vampprior", "mim")
            ],
        ],
    ),
    "paper-text": Preset(
        "As the paper's text has it: its networks, K, data, and Adam at 1e-3.",
        TABLE_1,
        trials=5,
        settings=[
            *LIKELIHOODS,
            *EXACT,
            *PAPER_ALPHA,
            *PAPER_NETWORKS,
            *PAPER_SIZES,
            # the text names neither epochs nor batches: the code's
            ("*", "*", {"learning_rate": "constant", "learning_rate_init": 1e-3}),
            ("*", "*", {"max_iter": 200, "batch_size": 100}),
        ],
    ),
    "paper-code": Preset(
        "As the authors' code has it: normalised gradients, 5e-4, 200 epochs, early stopping.",
        TABLE_1,
        trials=5,
        settings=[
            *LIKELIHOODS,
            *EXACT,
            *PAPER_ALPHA,
            *PAPER_NETWORKS,
            *PAPER_SIZES,
            ("*", "*", {"learning_rate": "constant", "learning_rate_init": 5e-4}),
            ("*", "*", {"max_iter": 200, "batch_size": 100, "solver": "normalized_adam"}),
            # the code stops after more than 50 epochs without a gain, and its warm-up ends in epoch 100
            ("*", "*", {"early_stopping": True, "n_iter_no_change": 51, "tol": 0.0}),
            *[("*", model, {"max_iter": 2000, "warmup": 99}) for model in ("vampprior", "mim")],
            # WAE is not in that code; its own has plain Adam and a rate that falls in steps
            ("*", "wae-*", {"solver": "adam", "learning_rate": "one_cycle", "learning_rate_init": 1e-3}),
            ("*", "wae-*", {"max_iter": 100, "early_stopping": False}),
        ],
    ),
}
