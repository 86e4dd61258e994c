"""What an epoch costs on the CPU, beside a plain loop, the bare matrix products, and pythae 0.1.2.

MNIST, GatedMLP((300, 300)), 8 components. CPU seconds of one thread; the sides take turns (A, B, C, A, B,
C, ...), one epoch is one measurement. The third epoch of a fit is timed: neither building the model nor its
first steps count, on any side.

With `--runs 3` all of it is measured three times, one run after the other; the tables are of all epochs, and
the bounds are judged in each run. `--resume FILE` keeps what is done.

pythae is installed by the extra: pip install -e ".[peers]"; the tables of SWAE (--only swae) do without.
"""

from __future__ import annotations

import importlib
import os
import time
from functools import partial

os.environ["TQDM_DISABLE"] = "1"  # pythae's progress bars; before torch, which may import tqdm

import torch
from _harness import Page, Store, interleaved, mnist, parser, ratio, ratio_cell, spread, timed, yes
from _literal import (
    BATCH_SIZE,
    BETA,
    FULL,
    HIDDEN,
    LEARNING_RATE,
    N_COMPONENTS,
    BareProducts,
    Literal,
    ProductsAndAdam,
    epoch_flop,
    literal_mlp,
    shared_parameters,
    swae_products,
    whole_batches,
)
from _watch import epoch_seconds
from torch import nn

from skswae import SWAETransformer, VAETransformer, WAETransformer
from skswae.networks import GatedMLP

CLOCK = time.process_time
SWAE_BATCH_SIZES = (100, 512)
SWAE_PSEUDO_INPUTS = (500, 4000)
LITERAL_BOUND = 1.3  # at batch 100: how many times as fast as the plain loop with a DataLoader
PRODUCTS_BOUNDS = {100: 1.5, 512: 1.25}
BARE_VAE_BOUND = 1.05
WAE_BOUND = 1.7

Seconds = dict[str, list[float]]  # by side


class Bounds:
    """The ratios that have a bound, in each run."""

    def __init__(self) -> None:
        self.rows: list[list] = []

    def add(self, text: str, runs: list[Seconds], over: str, under: str, limit: float, most: bool) -> None:
        """Add the ratio of two sides' medians: at most the limit, or at least."""
        found = [ratio(seconds[over], seconds[under]) for seconds in runs]
        met = [value <= limit if most else value >= limit for value in found]
        bound = f"at {'most' if most else 'least'} {limit}"
        self.rows.append([text, bound, *(f"{value:.3f}" for value in found), yes(all(met))])

    def write(self, page, n_runs: int) -> None:
        """Add the table."""
        page.section("Bounds", "Ratios of the medians of the seconds.")
        columns = ["run"] if n_runs == 1 else [f"run {run + 1}" for run in range(n_runs)]
        page.header(" | ".join(["ratio", "bound", *columns, "met" if n_runs == 1 else "met in all"]))
        for row in self.rows:
            page.row(*row)
        page.add()


class Runs:
    """The seconds of each part, in each run; those that are done are kept."""

    def __init__(self, n_runs: int, n_rows: int, repeats: int, store: Store):
        self.n_runs, self.repeats, self.store = n_runs, repeats, store
        self.size = {"rows": n_rows, "repeats": repeats}
        self.parts: dict[str, list[Seconds]] = {}

    def measure(self, parts: dict) -> None:
        """Measure all parts in turns, as many times as there are runs: name -> what returns seconds."""
        self.parts = {name: [] for name in parts}
        for run in range(self.n_runs):
            for name, measure in parts.items():
                settings = {"part": name, "run": run, **self.size}
                found = self.store.get(settings, lambda measure=measure: {"seconds": measure(self.repeats)})
                self.parts[name].append(found["seconds"])

    def pooled(self, name: str) -> Seconds:
        """Return the seconds of all runs of a part."""
        runs = self.parts[name]
        return {side: [s for seconds in runs for s in seconds[side]] for side in runs[0]}


# ---------------------------------------------------------------------------
# SWAE
# ---------------------------------------------------------------------------


def products_table(page, n_features: int) -> None:
    """Explain the bare products."""
    page.paragraph(
        f"The products of one step on B rows of {n_features} columns; both decodings are one batch of 2 B "
        "rows. 1 pass is forward alone, 2 are with the gradient of the weights, 3 with that of the input too "
        "(in the prior's first layer as well, because pseudo-inputs are learned). GFLOP: of an epoch of "
        f"{FULL:,} rows, whatever B is."
    )
    page.header("product | shape | passes | GFLOP")
    small, large = (swae_products(n_features, K) for K in SWAE_PSEUDO_INPUTS)
    for product in [small[0], *large]:
        m = "B" if product.times_batch == 1 else f"{product.times_batch} B"
        page.row(
            product.name,
            f"({m} x {product.k}) x ({product.k} x {product.n})",
            product.passes,
            f"{FULL * product.flop() / 1e9:.1f}",
        )
    for K in SWAE_PSEUDO_INPUTS:
        page.row(f"**all, K = {K}**", "", "", f"{epoch_flop(n_features, K) / 1e9:.1f}")
    page.add()


def swae_parts(X) -> dict:
    """Return what measures each setting."""
    return {
        f"SWAE, batch {batch_size}, K = {K}": partial(
            swae_seconds, whole_batches(X, batch_size), batch_size, K
        )
        for batch_size in SWAE_BATCH_SIZES
        for K in SWAE_PSEUDO_INPUTS
    }


def swae(page, X, runs: Runs, bounds: Bounds) -> None:
    """Add skswae, two plain loops, and the products alone."""
    page.section(
        "SWAE",
        f"skswae: SWAETransformer(init='random', beta={BETA}, squared errors, Adam at a constant "
        f"{LEARNING_RATE}). Literal: Algorithm 1 with the same objective, written plainly in torch (gates of "
        "two linear maps, two calls of the decoder, torch.cdist(x, u).argmin(1) for Step 2, "
        "torch.optim.Adam as it comes), with a DataLoader over a TensorDataset, or resident: a permutation "
        "and indexing. Bare products: torch.mm(out=...) on tensors of their own, in float32, and nothing "
        "else: no activations, no optimiser. Products and Adam: the same, and torch.optim.Adam(fused=True) "
        "on tensors of the weights' sizes, which reads and writes seven numbers a weight in each step.",
    )
    products_table(page, X.shape[1])
    page.header(
        f"batch | K | side | CPU s | CPU s per {FULL:,} rows | by bare products | "
        "times as fast as the literal with DataLoader | GFLOP/s"
    )
    for batch_size in SWAE_BATCH_SIZES:
        n_rows = len(whole_batches(X, batch_size))
        for K in SWAE_PSEUDO_INPUTS:
            name = f"SWAE, batch {batch_size}, K = {K}"
            seconds = runs.pooled(name)
            loader, bare = seconds["literal, DataLoader"], seconds["bare products"]
            for side, values in seconds.items():
                flops = epoch_flop(X.shape[1], K, n_rows) / ratio(values, [1.0])
                cells = spread(values), spread(values, FULL / n_rows), ratio_cell(values, bare)
                page.row(batch_size, K, side, *cells, ratio_cell(loader, values), f"{flops / 1e9:.1f}")
            part, limit = runs.parts[name], PRODUCTS_BOUNDS[batch_size]
            bounds.add(f"{name}: skswae by bare products", part, "skswae", "bare products", limit, True)
            if batch_size == 100:
                text = f"{name}: times as fast as the literal with DataLoader"
                bounds.add(text, part, "literal, DataLoader", "skswae", LITERAL_BOUND, False)
    page.add()


def swae_seconds(X, batch_size: int, K: int, repeats: int) -> Seconds:
    """Time all sides in one setting."""
    torch.manual_seed(0)
    x = torch.from_numpy(X)
    parameters = {
        **shared_parameters(batch_size),
        "beta": BETA,
        "reconstruction": "squared_error",
        "n_pseudo_inputs": K,
    }
    loader = Literal(literal_mlp(x, K), x, batch_size, resident=False)
    resident = Literal(literal_mlp(x, K), x, batch_size, resident=True)
    bare = BareProducts(swae_products(X.shape[1], K), batch_size)
    with_adam = ProductsAndAdam(bare, literal_mlp(x, K).parameters())
    runs = {
        "skswae": lambda: epoch_seconds(SWAETransformer(**parameters), X, CLOCK),
        "literal, DataLoader": lambda: timed(CLOCK, loader.epoch),
        "literal, resident": lambda: timed(CLOCK, resident.epoch),
        "bare products": lambda: timed(CLOCK, bare.steps, len(X) // batch_size),
        "products and Adam": lambda: timed(CLOCK, with_adam.steps, len(X) // batch_size),
    }
    return interleaved(runs, repeats)


# ---------------------------------------------------------------------------
# The other models, beside pythae
# ---------------------------------------------------------------------------


class BareVAE:
    """The loop that one writes for speed: GatedMLP's modules, fused Adam, indexing, fused cross-entropy."""

    def __init__(self, X: torch.Tensor, batch_size: int):
        network = GatedMLP(HIDDEN)
        self.X = X
        self.batch_size = batch_size
        self.encoder = network.build_encoder(X.shape[1], 2 * N_COMPONENTS)
        self.decoder = network.build_decoder(N_COMPONENTS, X.shape[1])
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
        for x in X.split(batch_size)[:3]:  # Adam's state, and what torch loads when first used
            self.step(x)

    def step(self, x: torch.Tensor) -> torch.Tensor:
        """Take a step on the negative evidence lower bound with one draw."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = torch.addcmul(mean, torch.exp(0.5 * log_variance), torch.randn_like(mean))
        error = nn.functional.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum()
        loss = (error + kl) / len(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def epoch(self) -> float:
        """Train for an epoch and return the mean loss."""
        order = torch.randperm(len(self.X)).split(self.batch_size)
        losses = [self.step(self.X.index_select(0, index)) for index in order]
        return float(torch.stack(losses).mean())


def peer_seconds(kind: str, estimator, X, repeats: int, **others) -> Seconds:
    """Time skswae, pythae and other sides."""
    peer = importlib.import_module("_pythae")  # here: it ends the program where pythae is not installed
    runs = {
        "skswae": lambda: epoch_seconds(estimator, X, CLOCK),
        "pythae": lambda: peer.epoch_seconds(kind, X, GatedMLP(HIDDEN), CLOCK),
        **others,
    }
    return interleaved(runs, repeats)


def peer_table(page, kind: str, X, runs: Runs, bounds: Bounds, bound: float) -> None:
    """Add seconds of each side, and skswae's speed against them."""
    seconds = runs.pooled(kind)
    page.header(f"side | CPU s | CPU s per {FULL:,} rows | skswae is so many times as fast")
    for side, values in seconds.items():
        cells = spread(values), spread(values, FULL / len(X)), ratio_cell(values, seconds["skswae"])
        page.row(side, *cells)
    page.add()
    bounds.add(f"{kind}: times as fast as pythae", runs.parts[kind], "pythae", "skswae", bound, False)


def vae_seconds(X, repeats: int) -> Seconds:
    """Time VAE, pythae's, and a bare loop."""
    estimator = VAETransformer(
        likelihood="bernoulli", posterior_scale_floor=0, **shared_parameters(BATCH_SIZE)
    )
    torch.manual_seed(0)
    bare = BareVAE(torch.from_numpy(X), BATCH_SIZE)
    return peer_seconds("VAE", estimator, X, repeats, **{"bare loop": lambda: timed(CLOCK, bare.epoch)})


def vae_parts(X) -> dict:
    """Return what measures VAE."""
    return {"VAE": partial(vae_seconds, whole_batches(X, BATCH_SIZE))}


def vae(page, X, runs: Runs, bounds: Bounds) -> None:
    """Add VAE beside a bare loop and pythae."""
    page.section(
        f"VAE, batch {BATCH_SIZE}",
        "Bernoulli likelihood, a free log-variance, closed-form KL. Bare loop: the same modules, one draw, "
        "binary_cross_entropy_with_logits, torch.optim.Adam(fused=True), a permutation and index_select.",
    )
    peer_table(page, "VAE", whole_batches(X, BATCH_SIZE), runs, bounds, 1.0)
    text = "VAE: skswae by the bare loop"
    bounds.add(text, runs.parts["VAE"], "skswae", "bare loop", BARE_VAE_BOUND, True)


def wae_seconds(X, repeats: int) -> Seconds:
    """Time WAE-MMD and pythae's."""
    peer = importlib.import_module("_pythae")
    estimator = WAETransformer(**peer.wae_parameters(X), **shared_parameters(BATCH_SIZE))
    return peer_seconds("WAE-MMD", estimator, X, repeats)


def wae_parts(X) -> dict:
    """Return what measures WAE-MMD."""
    return {"WAE-MMD": partial(wae_seconds, whole_batches(X, BATCH_SIZE))}


def wae(page, X, runs: Runs, bounds: Bounds) -> None:
    """Add WAE-MMD beside pythae."""
    peer = importlib.import_module("_pythae")
    page.section(
        f"WAE-MMD, batch {BATCH_SIZE}",
        f"Inverse multiquadratic kernels of the scales {', '.join(map(str, peer.MMD_SCALES))}, squared "
        "errors, no input noise.",
    )
    peer_table(page, "WAE-MMD", whole_batches(X, BATCH_SIZE), runs, bounds, WAE_BOUND)


def main():
    tables = {"swae": (swae_parts, swae), "vae": (vae_parts, vae), "wae": (wae_parts, wae)}
    options = parser(__doc__, "data", "resume")
    options.add_argument(
        "--rows",
        type=int,
        default=12_000,
        help="of one epoch; 4,096 or more, of MNIST, which is downloaded unless --data has it",
    )
    options.add_argument("--repeats", type=int, default=5, help="epochs of each side, in each run")
    options.add_argument("--runs", type=int, default=1, help="how many times all is measured")
    options.add_argument("--only", nargs="+", choices=tables, default=list(tables), help="tables")
    arguments = options.parse_args()
    least = max(SWAE_PSEUDO_INPUTS)
    if any(arguments.rows // size * size < least for size in SWAE_BATCH_SIZES):
        options.error(f"--rows must leave {least:,} in whole batches of {SWAE_BATCH_SIZES}: 4,096 or more")
    torch.set_num_threads(1)
    X = mnist(arguments.data)[0][: arguments.rows]
    only = [name for name in tables if name in arguments.only]
    runs = Runs(arguments.runs, len(X), arguments.repeats, Store(arguments.resume))
    runs.measure({part: measure for name in only for part, measure in tables[name][0](X).items()})
    page = Page("CPU seconds of an epoch", arguments.output)
    page.paragraph(
        f"MNIST's first {len(X):,} rows, {X.shape[1]} columns; GatedMLP({HIDDEN}), {N_COMPONENTS} "
        "components. CPU seconds of one thread (time.process_time) for an epoch of them, and scaled to "
        f"{FULL:,} rows: the median and, in brackets, the range of {arguments.runs} run(s) of "
        f"{arguments.repeats} epochs of each side, taken in turns. Each epoch of skswae and pythae is the "
        "third of a fresh fit: of skswae from the end of the second to its own, of pythae from its trainer's "
        "on_epoch_begin to its on_epoch_end. "
        "Ratios are of medians, in brackets the range of the ratios within a turn. Rows beyond whole batches "
        "are left out."
    )
    bounds = Bounds()
    for name in only:
        tables[name][1](page, X, runs, bounds)
    bounds.write(page, arguments.runs)
    page.paragraph(runs.store.note())


if __name__ == "__main__":
    main()
