"""What an epoch costs on a CUDA device, beside plain loops, pythae 0.1.2 and the device's own peak.

MNIST, 8 components; wall-clock seconds between synchronisations, the sides take turns. The first two
epochs of a fit are a warm-up: neither building the model nor capturing a graph counts. Also the seconds
until codes classify as well as the bound of the accuracy asks, and whether equal seeds give equal bits.

Without a CUDA device everything runs on the CPU on few rows, to see that it works, and every figure of the
page reads "not measured". pythae is installed by the extra: pip install -e ".[peers]"; without it its row
is left out.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import time

os.environ["TQDM_DISABLE"] = "1"  # pythae's progress bars; before torch, which may import tqdm
# deterministic algorithms want it, before cuBLAS starts
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import numpy as np
import torch
from _harness import Page, interleaved, mnist, parser, ratio, ratio_cell, spread, timed, yes
from _literal import (
    BATCH_SIZE,
    BETA,
    FULL,
    HIDDEN,
    LEARNING_RATE,
    N_COMPONENTS,
    Literal,
    LiteralSWAE,
    epoch_flop,
    literal_mlp,
    shared_parameters,
    whole_batches,
)
from _watch import Watch, codes, epoch_seconds

from skswae import SWAETransformer, VAETransformer
from skswae.metrics import knn_accuracy
from skswae.networks import GatedConvNet, GatedMLP

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
NOT_MEASURED = "not measured"
N_PSEUDO_INPUTS = 500
# and how many times the epochs of a measurement: few steps would be too few for a graph to be captured
PEAK_BATCH_SIZES = {100: 1, 1000: 5, 8192: 40}
TARGET = 0.96
LOADER_BOUND, RESIDENT_BOUND, PYTHAE_BOUND, CONV_BOUND = 5.0, 2.0, 5.0, 2.0
PEAK_BOUND = 0.4
MAP_WEIGHT, MAP_EPOCHS = 16.0, 30  # as in maps.py
REHEARSAL_ROWS = 300

PRECISIONS = ("float32", "tf32", "bf16")  # the default first

# ---------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------


def clock() -> float:
    """Return the seconds when the device has done what it was told."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def figure(text: str) -> str:
    """Return a measured figure; a CPU's would pass for the device's."""
    return text if CUDA else NOT_MEASURED


def bound(page, what: str, found: float, least: float) -> None:
    """Add the verdict on one bound."""
    measured = f"{found:.2f}, {yes(found >= least)}" if CUDA else NOT_MEASURED
    page.paragraph(f"- {what} (bound: at least {least:g}): {measured}.")


@contextlib.contextmanager
def deterministic():
    """Use torch's deterministic algorithms within the block."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextlib.contextmanager
def tf32(allowed: bool):
    """Multiply float32 matrices with or without TF32 within the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def swae_parameters(batch_size: int = BATCH_SIZE) -> dict:
    """Return SWAE's parameters as the literal loop has them."""
    return {
        **shared_parameters(batch_size, DEVICE),
        "beta": BETA,
        "reconstruction": "squared_error",
        "n_pseudo_inputs": N_PSEUDO_INPUTS,
    }


def fit(page, data, arguments) -> None:
    """Add the seconds of whole fits, from the first of this process on, and of using them."""
    X_train, X_test, y_train, y_test = data
    limit = {} if CUDA else {"max_iter": 1}
    page.section(
        "A fit by default",
        f"SWAETransformer() on {len(X_train):,} rows. The first fit of the process loads what the "
        "later ones find. 5-NN: accuracy on the test rows.",
    )
    page.header("parameters | epochs | batch | s | transform of the test rows, ms | 5-NN")
    a_map = {"n_components": 2, "neighbor_weight": MAP_WEIGHT}
    own: list[dict] = [{}, {}, {}, {"precision": "tf32"}, {"precision": "bf16"}, {"n_components": 32}]
    own += [{"n_components": 2}, a_map, {**a_map, "max_iter": MAP_EPOCHS}]
    for i, parameters in enumerate(own):
        model = SWAETransformer(device=DEVICE, random_state=0, **{**limit, **parameters})
        seconds = timed(clock, model.fit, X_train)
        coding = timed(clock, model.transform, X_test)
        score = knn_accuracy(model.transform(X_train), y_train, model.transform(X_test), y_test)
        named = ", ".join(f"{name}={value!r}" for name, value in parameters.items()) or "default"
        cells = f"{seconds:.2f}", f"{1e3 * coding:.0f}", f"{score:.4f}"
        first = "" if i else ", first fit"
        page.row(named + first, model.n_iter_, model.batch_size_, *map(figure, cells))
    page.add()


def swae_runs(parameters: dict, X, n_epochs: int) -> dict:
    """Return skswae's side in every precision."""

    def run(precision):
        return lambda: epoch_seconds(SWAETransformer(**parameters, precision=precision), X, clock, n_epochs)

    return {
        f"skswae, {precision}" if i else "skswae": run(precision) for i, precision in enumerate(PRECISIONS)
    }


def table(page, seconds: dict[str, list[float]], reference: str, n_rows: int) -> None:
    """Add seconds and speed of each side."""
    page.header(f"side | s per {FULL:,} rows | times as fast as {reference}")
    for side, values in seconds.items():
        cells = spread(values, FULL / n_rows), ratio_cell(seconds[reference], values)
        page.row(side, *map(figure, cells))
    page.add()


# ---------------------------------------------------------------------------
# The tables
# ---------------------------------------------------------------------------


def mlp(page, data, arguments) -> None:
    """Add SWAE beside the literal loops, and VAE beside pythae's."""
    X = whole_batches(data[0], BATCH_SIZE)
    x, repeats, n_epochs = torch.from_numpy(X), arguments.repeats, arguments.epochs
    page.section(
        f"GatedMLP({HIDDEN}), batch {BATCH_SIZE}: SWAE, K = {N_PSEUDO_INPUTS}",
        "Literal: Algorithm 1 with the same objective, written plainly in torch (gates of two linear maps, "
        "two calls of the decoder, torch.cdist(x, u).argmin(1), torch.optim.Adam as it comes, in float32), "
        "with a DataLoader over rows in host memory, or resident: a permutation and indexing on the device.",
    )
    torch.manual_seed(0)
    loader = Literal(literal_mlp(x, N_PSEUDO_INPUTS), x, BATCH_SIZE, resident=False, device=DEVICE)
    resident = Literal(literal_mlp(x, N_PSEUDO_INPUTS), x, BATCH_SIZE, resident=True, device=DEVICE)
    runs = {
        **swae_runs(swae_parameters(), X, n_epochs),
        "literal, DataLoader": lambda: timed(clock, loader.epoch),
        "literal, resident": lambda: timed(clock, resident.epoch),
    }
    seconds = interleaved(runs, repeats)
    table(page, seconds, "literal, DataLoader", len(X))
    for side, least in (("literal, DataLoader", LOADER_BOUND), ("literal, resident", RESIDENT_BOUND)):
        bound(page, f"skswae against {side}", ratio(seconds[side], seconds["skswae"]), least)

    page.section(f"GatedMLP({HIDDEN}), batch {BATCH_SIZE}: VAE")
    shared = shared_parameters(BATCH_SIZE, DEVICE)
    model = VAETransformer(likelihood="bernoulli", posterior_scale_floor=0, **shared)
    runs = {"skswae": lambda: epoch_seconds(model, X, clock, n_epochs)}
    try:
        peer = importlib.import_module("_pythae")  # ends the program where pythae is not installed
    except SystemExit as error:
        page.paragraph(f"pythae is not measured. {error}")
    else:
        runs["pythae"] = lambda: peer.epoch_seconds("VAE", X, GatedMLP(HIDDEN), clock, n_epochs, not CUDA)
    seconds = interleaved(runs, repeats)
    table(page, seconds, "pythae" if "pythae" in seconds else "skswae", len(X))
    if "pythae" in seconds:
        found = ratio(seconds["pythae"], seconds["skswae"])
        bound(page, "VAETransformer against pythae's VAE", found, PYTHAE_BOUND)


def conv_parameters() -> dict:
    """Return SWAE's parameters with the paper's network."""
    return {**swae_parameters(), "network": GatedConvNet((1, 28, 28))}


def conv(page, data, arguments) -> None:
    """Add the paper's network beside a literal loop over the same modules."""
    X = whole_batches(data[0][: arguments.conv_rows], BATCH_SIZE)
    x = torch.from_numpy(X)
    page.section(
        f"GatedConvNet((1, 28, 28)), batch {BATCH_SIZE}: SWAE, K = {N_PSEUDO_INPUTS}",
        f"{len(X):,} rows, scaled. Literal: as above, but with GatedConvNet's own modules, and under torch's "
        "own setting for convolutions of float32: TF32 "
        f"{'allowed' if torch.backends.cudnn.allow_tf32 else 'not allowed'}.",
    )
    torch.manual_seed(0)
    network, d = GatedConvNet((1, 28, 28)), X.shape[1]
    model = LiteralSWAE(
        network.build_encoder(d, N_COMPONENTS),
        network.build_encoder(d, 2 * N_COMPONENTS),
        network.build_decoder(N_COMPONENTS, d),
        x[torch.randperm(len(x))[:N_PSEUDO_INPUTS]],
    )
    loader = Literal(model, x, BATCH_SIZE, resident=False, device=DEVICE)
    runs = {
        **swae_runs(conv_parameters(), X, 1),
        "literal, DataLoader": lambda: timed(clock, loader.epoch),
    }
    seconds = interleaved(runs, arguments.repeats)
    table(page, seconds, "literal, DataLoader", len(X))
    found = ratio(seconds["literal, DataLoader"], seconds["skswae"])
    bound(page, "skswae against literal, DataLoader", found, CONV_BOUND)


def peak_flops(precision: str, size: int, repeats: int = 20) -> float:
    """Return the operations a second of products of square matrices, the best of several."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b, out = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(3))

    def multiply():
        for _ in range(repeats):
            torch.mm(a, b, out=out)

    with tf32(precision == "tf32"):
        multiply()
        seconds = min(timed(clock, multiply) for _ in range(3)) / repeats
    return 2 * size**3 / seconds


def peak(page, data, arguments) -> None:
    """Add how much of the device's own speed an epoch reaches."""
    X = data[0]
    size = 8192 if CUDA else 256
    flops = epoch_flop(X.shape[1], min(N_PSEUDO_INPUTS, len(X)), len(X))
    page.section(
        f"Share of the peak: SWAE, GatedMLP({HIDDEN}), K = {N_PSEUDO_INPUTS}",
        f"Peak: products of {size} x {size} matrices of the same precision. Done: the products that an epoch "
        f"cannot avoid ({flops / len(X) / 1e6:.1f} MFLOP a row; epoch_cost.py lists them) by its seconds. An "
        "epoch is cut into batches of at least the given size.",
    )
    page.header(f"precision | peak, TFLOP/s | batch | s per {FULL:,} rows | TFLOP/s | share of the peak")
    shares = {}
    for precision in PRECISIONS:
        highest = peak_flops(precision, size)
        runs = {}
        for batch_size, factor in PEAK_BATCH_SIZES.items():
            model = SWAETransformer(**swae_parameters(batch_size), precision=precision)
            n_epochs = arguments.epochs * factor if CUDA else 1
            runs[batch_size] = functools.partial(epoch_seconds, model, X, clock, n_epochs)
        for batch_size, seconds in interleaved(runs, arguments.repeats).items():
            reached = flops / ratio(seconds, [1.0])
            shares[precision, batch_size] = reached / highest
            cells = spread(seconds, FULL / len(X)), f"{reached / 1e12:.2f}", f"{reached / highest:.1%}"
            page.row(precision, figure(f"{highest / 1e12:.1f}"), batch_size, *map(figure, cells))
    page.add()
    largest = max(PEAK_BATCH_SIZES)
    for precision in PRECISIONS:
        bound(page, f"Share at batch {largest}, {precision}", shares[precision, largest], PEAK_BOUND)


def accuracy(page, data, arguments) -> None:
    """Add the seconds of training until the codes classify well."""
    X_train, X_test, y_train, y_test = data
    limit = {} if CUDA else {"max_iter": 2}
    page.section(
        f"Seconds to a 5-NN accuracy of {TARGET} on the test rows",
        f"SWAETransformer(n_components={N_COMPONENTS}) on all training rows, all else by default; after each "
        "epoch a 5-nearest-neighbour classifier on the codes. Counted from the call of fit, its building and "
        "start from PCA included; measuring is not counted, and one short fit came before.",
    )
    parameters = {"n_components": N_COMPONENTS, "device": DEVICE, **limit}
    SWAETransformer(**{**parameters, "max_iter": 1}).fit(X_train[:1000])
    page.header("seed | epoch | seconds | accuracy after all epochs | seconds of those")
    for seed in range(arguments.seeds):
        records = []

        def look(module, seconds, records=records):
            score = knn_accuracy(codes(module, X_train), y_train, codes(module, X_test), y_test)
            records.append((len(records) + 1, score, seconds))

        Watch(clock, look).fit(SWAETransformer(**parameters, random_state=seed), X_train)
        reached = next((record for record in records if record[1] >= TARGET), None)
        first = (str(reached[0]), f"{reached[2]:.1f}") if reached else ("not reached", "not reached")
        last = f"{records[-1][1]:.4f}", f"{records[-1][2]:.1f}"
        page.row(seed, *map(figure, (*first, *last)))
    page.add()


def repeatable(page, data, arguments) -> None:
    """Add whether equal seeds give equal bits, and what torch's deterministic algorithms cost."""
    page.section(
        "Two fits with the same seed",
        "Equal: every weight, buffer and recorded loss after two epochs. Then the same under "
        "torch.use_deterministic_algorithms(True), and its cost: seconds of an epoch by those without. "
        f"CUBLAS_WORKSPACE_CONFIG={os.environ['CUBLAS_WORKSPACE_CONFIG']} throughout.",
    )
    page.header("network | precision | bit-equal | bit-equal, deterministic | cost of deterministic")
    for name, parameters, n_rows in (
        ("GatedMLP", swae_parameters(), len(data[0])),
        ("GatedConvNet", conv_parameters(), arguments.conv_rows),
    ):
        X = whole_batches(data[0][:n_rows], BATCH_SIZE)
        for precision in PRECISIONS:
            chosen = {**parameters, "precision": precision}
            cells = [equal(chosen, X)]
            try:
                with deterministic():
                    cells.append(equal(chosen, X))
                cells.append(cost_of_deterministic(chosen, X, arguments))
            except RuntimeError as error:  # an operation that has no deterministic form
                cells += [str(error).splitlines()[0][:200]] * (3 - len(cells))
            page.row(name, precision, *map(figure, cells))
    page.add()


def equal(parameters: dict, X) -> str:
    """Say whether two fits agree in every bit."""
    fits = [SWAETransformer(max_iter=2, **parameters).fit(X) for _ in range(2)]
    states = [fit.module_.state_dict() for fit in fits]
    same = all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    same = same and np.array_equal(fits[0].loss_curve_, fits[1].loss_curve_)
    return "yes" if same else "no"


def cost_of_deterministic(parameters: dict, X, arguments) -> str:
    """Return the ratio of the seconds with to those without."""

    def run():
        return epoch_seconds(SWAETransformer(**parameters), X, clock)

    def run_deterministic():
        with deterministic():
            return run()

    seconds = interleaved({"with": run_deterministic, "without": run}, arguments.repeats)
    return ratio_cell(seconds["with"], seconds["without"])


def main():
    tables = {
        "fit": fit,
        "mlp": mlp,
        "conv": conv,
        "peak": peak,
        "accuracy": accuracy,
        "repeatable": repeatable,
    }
    options = parser(__doc__, "data", gpu=True)
    options.add_argument("--rows", type=int, default=FULL, help="training rows")
    options.add_argument("--conv-rows", type=int, default=12_000, help="training rows of GatedConvNet")
    options.add_argument("--repeats", type=int, default=5, help="measurements of each side")
    options.add_argument("--epochs", type=int, default=2, help="epochs of skswae and pythae in each")
    options.add_argument("--seeds", type=int, default=3, help="of the accuracy")
    options.add_argument("--only", nargs="+", choices=tables, default=list(tables), help="tables")
    arguments = options.parse_args()
    data = mnist(arguments.data)
    if not CUDA:  # one measurement on few rows, whatever was asked for
        torch.set_num_threads(1)
        arguments.rows, arguments.conv_rows = REHEARSAL_ROWS, BATCH_SIZE
        arguments.repeats = arguments.epochs = arguments.seeds = 1
        data = tuple(array[:REHEARSAL_ROWS] for array in data)
    data = data[0][: arguments.rows], data[1], data[2][: arguments.rows], data[3]
    page = Page("Seconds of an epoch on a CUDA device", arguments.output)
    if CUDA:
        properties = torch.cuda.get_device_properties(0)
        page.paragraph(
            f"Device: {properties.name}, {properties.total_memory / 2**30:.0f} GiB, compute capability "
            f"{properties.major}.{properties.minor}, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}."
        )
    else:
        page.paragraph(
            "**No CUDA device was found.** Everything below ran on the CPU on a few rows, to see that it "
            "works; nothing was measured."
        )
    page.paragraph(
        f"MNIST, {len(data[0]):,} training rows. Wall-clock seconds, the device synchronised at both ends, "
        f"scaled to {FULL:,} rows: the median and, in brackets, the range of {arguments.repeats} "
        f"measurement(s) taken in turns. skswae and pythae: a fresh fit each, the mean of {arguments.epochs} "
        f"epoch(s) after its second; Adam at a constant {LEARNING_RATE}. Ratios are of medians, in brackets "
        f"the range within a turn. Precision by default: {PRECISIONS[0]}."
    )
    for name, add_table in tables.items():
        if name in arguments.only:
            add_table(page, data, arguments)


if __name__ == "__main__":
    main()
