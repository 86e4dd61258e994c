"""What an epoch costs on the CPU, beside a plain loop, the bare matrix products, and pythae 0.1.2.

MNIST, GatedMLP((300, 300)), 8 components. CPU seconds of one thread; the sides take turns (A, B, C, A, B,
C, ...), one epoch is one measurement. The third epoch of a fit is timed: neither building the model nor its
first steps count, on any side.

pythae is installed by the extra: pip install -e ".[peers]"; the tables of SWAE (--only swae) do without.
"""

from __future__ import annotations

import importlib
import os
import time

os.environ["TQDM_DISABLE"] = "1"  # pythae's progress bars; before torch, which may import tqdm

import torch
from _harness import Page, interleaved, mnist, parser, ratio, ratio_cell, spread, timed, yes
from _literal import (
    BATCH_SIZE,
    BETA,
    FULL,
    HIDDEN,
    LEARNING_RATE,
    N_COMPONENTS,
    BareProducts,
    Literal,
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


def swae(page, X, repeats: int) -> None:
    """Add skswae, two plain loops, and the products alone."""
    page.section(
        "SWAE",
        f"skswae: SWAETransformer(init='random', beta={BETA}, squared errors, Adam at a constant "
        f"{LEARNING_RATE}). Literal: Algorithm 1 with the same objective, written plainly in torch (gates of "
        "two linear maps, two calls of the decoder, torch.cdist(x, u).argmin(1) for Step 2, "
        "torch.optim.Adam as it comes), with a DataLoader over a TensorDataset, or resident: a permutation "
        "and indexing. Bare products: torch.mm(out=...) on tensors of their own, in float32, and nothing "
        "else: no activations, no optimiser.",
    )
    products_table(page, X.shape[1])
    verdicts = []
    page.header(
        f"batch | K | side | CPU s | CPU s per {FULL:,} rows | by bare products | "
        "times as fast as the literal with DataLoader | GFLOP/s"
    )
    for batch_size in SWAE_BATCH_SIZES:
        rows = whole_batches(X, batch_size)
        for K in SWAE_PSEUDO_INPUTS:
            seconds = swae_seconds(rows, batch_size, K, repeats)
            loader, bare = seconds["literal, DataLoader"], seconds["bare products"]
            for side, values in seconds.items():
                flops = epoch_flop(X.shape[1], K, len(rows)) / ratio(values, [1.0])
                cells = spread(values), spread(values, FULL / len(rows)), ratio_cell(values, bare)
                page.row(batch_size, K, side, *cells, ratio_cell(loader, values), f"{flops / 1e9:.1f}")
            ours, of_setting = seconds["skswae"], f"Batch {batch_size}, K = {K}: skswae"
            found, bound = ratio(ours, bare), PRODUCTS_BOUNDS[batch_size]
            verdicts.append(
                f"- {of_setting} takes {found:.3f} times the bare products (bound: at most {bound}): "
                f"{yes(found <= bound)}."
            )
            if batch_size == 100:
                found = ratio(loader, ours)
                verdicts.append(
                    f"- {of_setting} is {found:.3f} times as fast as the literal with "
                    f"DataLoader (bound: at least {LITERAL_BOUND}): {yes(found >= LITERAL_BOUND)}."
                )
    page.add()
    page.paragraph("\n".join(verdicts))


def swae_seconds(X, batch_size: int, K: int, repeats: int) -> dict[str, list[float]]:
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
    runs = {
        "skswae": lambda: epoch_seconds(SWAETransformer(**parameters), X, CLOCK),
        "literal, DataLoader": lambda: timed(CLOCK, loader.epoch),
        "literal, resident": lambda: timed(CLOCK, resident.epoch),
        "bare products": lambda: timed(CLOCK, bare.steps, len(X) // batch_size),
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


def peer_table(page, kind: str, estimator, X, repeats: int, bound: float = 1.0, **others) -> dict:
    """Add seconds of each side, skswae's speed against them, and the verdict on pythae's."""
    peer = importlib.import_module("_pythae")  # here: it ends the program where pythae is not installed
    runs = {
        "skswae": lambda: epoch_seconds(estimator, X, CLOCK),
        "pythae": lambda: peer.epoch_seconds(kind, X, GatedMLP(HIDDEN), CLOCK),
        **others,
    }
    seconds = interleaved(runs, repeats)
    page.header(f"side | CPU s | CPU s per {FULL:,} rows | skswae is so many times as fast")
    for side, values in seconds.items():
        cells = spread(values), spread(values, FULL / len(X)), ratio_cell(values, seconds["skswae"])
        page.row(side, *cells)
    page.add()
    found = ratio(seconds["pythae"], seconds["skswae"])
    page.paragraph(
        f"- {kind}: skswae is {found:.3f} times as fast as pythae (bound: at least {bound}): "
        f"{yes(found >= bound)}."
    )
    return seconds


def vae(page, X, repeats: int) -> None:
    """Add VAE beside a bare loop and pythae."""
    page.section(
        f"VAE, batch {BATCH_SIZE}",
        "Bernoulli likelihood, a free log-variance, closed-form KL. Bare loop: the same modules, one draw, "
        "binary_cross_entropy_with_logits, torch.optim.Adam(fused=True), a permutation and index_select.",
    )
    estimator = VAETransformer(
        likelihood="bernoulli", posterior_scale_floor=0, **shared_parameters(BATCH_SIZE)
    )
    torch.manual_seed(0)
    bare = BareVAE(torch.from_numpy(X), BATCH_SIZE)
    others = {"bare loop": lambda: timed(CLOCK, bare.epoch)}
    seconds = peer_table(page, "VAE", estimator, X, repeats, **others)
    found = ratio(seconds["skswae"], seconds["bare loop"])
    page.paragraph(
        f"- VAE: skswae takes {found:.3f} times the bare loop (bound: at most {BARE_VAE_BOUND}): "
        f"{yes(found <= BARE_VAE_BOUND)}."
    )


def wae(page, X, repeats: int) -> None:
    """Add WAE-MMD beside pythae."""
    peer = importlib.import_module("_pythae")
    page.section(
        f"WAE-MMD, batch {BATCH_SIZE}",
        f"Inverse multiquadratic kernels of the scales {', '.join(map(str, peer.MMD_SCALES))}, squared "
        "errors, no input noise.",
    )
    estimator = WAETransformer(**peer.wae_parameters(X), **shared_parameters(BATCH_SIZE))
    peer_table(page, "WAE-MMD", estimator, X, repeats, WAE_BOUND)


def main():
    tables = {"swae": swae, "vae": vae, "wae": wae}
    options = parser(__doc__, "data")
    options.add_argument(
        "--rows",
        type=int,
        default=12_000,
        help="of one epoch; 4,096 or more, of MNIST, which is downloaded unless --data has it",
    )
    options.add_argument("--repeats", type=int, default=5, help="epochs of each side")
    options.add_argument("--only", nargs="+", choices=tables, default=list(tables), help="tables")
    arguments = options.parse_args()
    least = max(SWAE_PSEUDO_INPUTS)
    if any(arguments.rows // size * size < least for size in SWAE_BATCH_SIZES):
        options.error(f"--rows must leave {least:,} in whole batches of {SWAE_BATCH_SIZES}: 4,096 or more")
    torch.set_num_threads(1)
    X = mnist(arguments.data)[0][: arguments.rows]
    page = Page("CPU seconds of an epoch", arguments.output)
    page.paragraph(
        f"MNIST's first {len(X):,} rows, {X.shape[1]} columns; GatedMLP({HIDDEN}), {N_COMPONENTS} "
        "components. CPU seconds of one thread (time.process_time) for an epoch of them, and scaled to "
        f"{FULL:,} rows: the median and, in brackets, the range of {arguments.repeats} epochs of each side, "
        "taken in turns. Each epoch of skswae and pythae is the third of a fresh fit: of skswae from the "
        "end of the second to its own, of pythae from its trainer's on_epoch_begin to its on_epoch_end. "
        "Ratios are of medians, in brackets the range of the ratios within a turn. Rows beyond whole batches "
        "are left out."
    )
    for name in tables:
        if name in arguments.only:
            rows = X if name == "swae" else whole_batches(X, BATCH_SIZE)
            tables[name](page, rows, arguments.repeats)


if __name__ == "__main__":
    main()
