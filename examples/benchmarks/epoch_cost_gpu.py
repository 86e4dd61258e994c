"""What an epoch costs on a CUDA device, beside plain loops, pythae 0.1.2 and the device's own peak.

MNIST, 8 components; wall-clock seconds between synchronisations, the sides take turns. Of a fit the first
epoch is a warm-up: neither building the model nor capturing a graph counts. Also the seconds until codes
classify as well as the bound of the accuracy asks, and whether equal seeds give equal bits.

Without a CUDA device everything runs on the CPU on few rows, to see that it works, and every figure of the
report reads "not measured". pythae is installed by the extra: pip install -e ".[peers]"; without it its row
is left out. MNIST is a folder with mnist.npz, given by --data or by the environment variable SKSWAE_DATA.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
import time

os.environ["SKSWAE_BENCHMARK_GPU"] = "1"  # before _report, which else hides the device
os.environ["TQDM_DISABLE"] = "1"  # pythae's progress bars; before torch, which may import tqdm
# deterministic algorithms want it, before cuBLAS starts
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import numpy as np
import torch
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
    interleaved,
    literal_mlp,
    pythae_seconds,
    ratio,
    ratio_cell,
    shared_parameters,
    skswae_seconds,
    spread,
    timed,
    whole_batches,
    yes_or_no,
)
from _report import Report, parser
from quality_mnist import load
from sklearn.neighbors import KNeighborsClassifier

from skswae import SWAETransformer, VAETransformer
from skswae.networks import GatedConvNet

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
NOT_MEASURED = "not measured"
N_PSEUDO_INPUTS = 500
# and how many times the epochs of a measurement: few steps would be too few for a graph to be captured
PEAK_BATCH_SIZES = {100: 1, 1000: 5, 8192: 40}
TARGET = 0.96
LOADER_BOUND, RESIDENT_BOUND, PYTHAE_BOUND, CONV_BOUND = 5.0, 2.0, 5.0, 2.0
PEAK_BOUND = 0.4
REHEARSAL_ROWS = 300

# ---------------------------------------------------------------------------
# Figures, and what this version of the package has
# ---------------------------------------------------------------------------


def clock() -> float:
    """Seconds, when the device has done what it was told."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def figure(text: str) -> str:
    """A measured figure; a CPU's would pass for the device's."""
    return text if CUDA else NOT_MEASURED


def bound(report, what: str, found: float, least: float) -> None:
    """The verdict on one bound."""
    measured = f"{found:.2f}; {yes_or_no(found >= least)}" if CUDA else NOT_MEASURED
    report.add(f"- {what} (bound: at least {least:g}): {measured}.")


def graph_modules() -> list:
    """The modules of the package that hold the least number of steps for a graph; none without graphs."""
    loaded = [module for name, module in sys.modules.items() if name.startswith("skswae.")]
    return [module for module in loaded if "GRAPH_MIN_STEPS" in vars(module)]


def precisions() -> list[str]:
    """Those that the estimators know; the first one is the default."""
    default = SWAETransformer().get_params().get("precision")
    if default is None:
        return ["float32"]
    return [default, *(name for name in ("float32", "tf32", "bf16") if name != default)]


def with_precision(parameters: dict, precision: str) -> dict:
    """The parameters with that precision, where there is a choice."""
    return {**parameters, "precision": precision} if len(precisions()) > 1 else parameters


@contextlib.contextmanager
def eager():
    """No graph is captured within the block."""
    modules = graph_modules()
    before = [module.GRAPH_MIN_STEPS for module in modules]
    try:
        for module in modules:
            module.GRAPH_MIN_STEPS = 2**62
        yield
    finally:
        for module, value in zip(modules, before):
            module.GRAPH_MIN_STEPS = value


@contextlib.contextmanager
def deterministic():
    """Torch's deterministic algorithms within the block."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextlib.contextmanager
def tf32(allowed: bool):
    """Products of float32 matrices with or without TF32 within the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def swae_parameters(batch_size: int = BATCH_SIZE) -> dict:
    """SWAE as the literal loop has it."""
    return {
        **shared_parameters(batch_size, DEVICE),
        "beta": BETA,
        "reconstruction": "squared_error",
        "n_pseudo_inputs": N_PSEUDO_INPUTS,
    }


def swae_runs(parameters: dict, X, n_epochs: int) -> dict:
    """skswae in every precision, and in the default one without a graph."""

    def run(precision):
        return lambda: skswae_seconds(
            SWAETransformer, with_precision(parameters, precision), X, clock, n_epochs
        )

    first, *rest = precisions()
    runs = {"skswae": run(first)}
    if graph_modules():

        def without_graph():
            with eager():
                return run(first)()

        runs["skswae, no graph"] = without_graph
    return {**runs, **{f"skswae, {precision}": run(precision) for precision in rest}}


def table(report, seconds: dict[str, list[float]], reference: str, n_rows: int) -> None:
    """Seconds and speed of each side."""
    report.header("side", f"s per {FULL:,} rows", f"times as fast as {reference}")
    for side, values in seconds.items():
        cells = spread(values, FULL / n_rows), ratio_cell(seconds[reference], values)
        report.row(side, *map(figure, cells))
    report.add()


# ---------------------------------------------------------------------------
# The tables
# ---------------------------------------------------------------------------


def mlp(report, data, arguments) -> None:
    """SWAE beside the literal loops, and VAE beside pythae's."""
    X = whole_batches(data[0], BATCH_SIZE)
    x, repeats, n_epochs = torch.from_numpy(X), arguments.repeats, arguments.epochs
    report.add(f"## GatedMLP({HIDDEN}), batch {BATCH_SIZE}: SWAE, K = {N_PSEUDO_INPUTS}")
    report.add()
    report.add(
        "Literal: Algorithm 1 with the same objective, written plainly in torch (gates of two linear maps, "
        "two calls of the decoder, torch.cdist(x, u).argmin(1), torch.optim.Adam as it comes, in float32), "
        "with a DataLoader over rows in host memory, or resident: a permutation and indexing on the device."
    )
    report.add()
    torch.manual_seed(0)
    loader = Literal(literal_mlp(x, N_PSEUDO_INPUTS), x, BATCH_SIZE, resident=False, device=DEVICE)
    resident = Literal(literal_mlp(x, N_PSEUDO_INPUTS), x, BATCH_SIZE, resident=True, device=DEVICE)
    runs = {
        **swae_runs(swae_parameters(), X, n_epochs),
        "literal, DataLoader": lambda: timed(clock, loader.epoch),
        "literal, resident": lambda: timed(clock, resident.epoch),
    }
    seconds = interleaved(runs, repeats)
    table(report, seconds, "literal, DataLoader", len(X))
    for side, least in (("literal, DataLoader", LOADER_BOUND), ("literal, resident", RESIDENT_BOUND)):
        bound(report, f"skswae against {side}", ratio(seconds[side], seconds["skswae"]), least)
    report.add()

    report.add(f"## GatedMLP({HIDDEN}), batch {BATCH_SIZE}: VAE")
    report.add()
    parameters = {
        **shared_parameters(BATCH_SIZE, DEVICE),
        "likelihood": "bernoulli",
        "posterior_scale_floor": 0,
    }
    runs = {"skswae": lambda: skswae_seconds(VAETransformer, parameters, X, clock, n_epochs)}
    try:
        importlib.import_module("peer_parity")  # ends the program where pythae is not installed
    except SystemExit as error:
        report.add(f"pythae is not measured. {error}")
        report.add()
    else:
        keywords = {"n_epochs": n_epochs, "no_cuda": not CUDA}
        runs["pythae"] = lambda: pythae_seconds("VAE", 0, X, BATCH_SIZE, clock, **keywords)
    seconds = interleaved(runs, repeats)
    table(report, seconds, "pythae" if "pythae" in seconds else "skswae", len(X))
    if "pythae" in seconds:
        found = ratio(seconds["pythae"], seconds["skswae"])
        bound(report, "VAETransformer against pythae's VAE", found, PYTHAE_BOUND)
        report.add()


def conv_parameters() -> dict:
    """SWAE with the paper's network."""
    return {**swae_parameters(), "network": GatedConvNet((1, 28, 28))}


def conv(report, data, arguments) -> None:
    """The paper's network beside a literal loop over the same modules."""
    X = whole_batches(data[0][: arguments.conv_rows], BATCH_SIZE)
    x = torch.from_numpy(X)
    report.add(f"## GatedConvNet((1, 28, 28)), batch {BATCH_SIZE}: SWAE, K = {N_PSEUDO_INPUTS}")
    report.add()
    report.add(
        f"{len(X):,} rows, scaled. Literal: as above, but with GatedConvNet's own modules, and under torch's "
        "own setting for convolutions of float32: TF32 "
        f"{'allowed' if torch.backends.cudnn.allow_tf32 else 'not allowed'}."
    )
    report.add()
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
    table(report, seconds, "literal, DataLoader", len(X))
    found = ratio(seconds["literal, DataLoader"], seconds["skswae"])
    bound(report, "skswae against literal, DataLoader", found, CONV_BOUND)
    report.add()


def peak_flops(precision: str, size: int, repeats: int = 20) -> float:
    """Of products of square matrices, the best of several, per second."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b, out = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(3))

    def multiply():
        for _ in range(repeats):
            torch.mm(a, b, out=out)

    with tf32(precision == "tf32"):
        multiply()
        seconds = min(timed(clock, multiply) for _ in range(3)) / repeats
    return 2 * size**3 / seconds


def peak(report, data, arguments) -> None:
    """How much of the device's own speed an epoch reaches."""
    X = data[0]
    size = 8192 if CUDA else 256
    report.add(f"## Share of the peak: SWAE, GatedMLP({HIDDEN}), K = {N_PSEUDO_INPUTS}")
    report.add()
    K = min(N_PSEUDO_INPUTS, len(X))
    flops = epoch_flop(X.shape[1], K, len(X))
    report.add(
        f"Peak: products of {size} x {size} matrices of the same precision. Done: the products that an epoch "
        f"cannot avoid ({flops / len(X) / 1e6:.1f} MFLOP a row; epoch_cost.py lists them) by its seconds. An "
        "epoch is cut into batches of at least the given size."
    )
    report.add()
    report.header(
        "precision", "peak, TFLOP/s", "batch", f"s per {FULL:,} rows", "TFLOP/s", "share of the peak"
    )
    shares = {}
    for precision in precisions():
        highest = peak_flops(precision, size)
        runs = {}
        for batch_size, factor in PEAK_BATCH_SIZES.items():
            parameters = with_precision(swae_parameters(batch_size), precision)
            n_epochs = arguments.epochs * factor if CUDA else 1
            runs[batch_size] = functools.partial(
                skswae_seconds, SWAETransformer, parameters, X, clock, n_epochs
            )
        for batch_size, seconds in interleaved(runs, arguments.repeats).items():
            reached = flops / ratio(seconds, [1.0])
            shares[precision, batch_size] = reached / highest
            cells = spread(seconds, FULL / len(X)), f"{reached / 1e12:.2f}", f"{reached / highest:.1%}"
            report.row(precision, figure(f"{highest / 1e12:.1f}"), batch_size, *map(figure, cells))
    report.add()
    largest = max(PEAK_BATCH_SIZES)
    for precision in precisions():
        bound(report, f"Share at batch {largest}, {precision}", shares[precision, largest], PEAK_BOUND)
    report.add()


def accuracy(report, data, arguments) -> None:
    """Seconds of training until the codes classify well."""
    report.add(f"## Seconds to a 5-NN accuracy of {TARGET} on the test rows")
    report.add()
    limit = {} if CUDA else {"max_iter": 2}
    n_epochs = SWAETransformer(**limit).max_iter
    report.add(
        f"SWAETransformer(n_components={N_COMPONENTS}) on all training rows, all else by default; after each "
        "epoch a 5-nearest-neighbour classifier on the codes. Counted from the call of fit, its building and "
        "start from PCA included; measuring is not counted, and one short fit came before."
    )
    report.add()
    parameters = {"n_components": N_COMPONENTS, "device": DEVICE, **limit}
    SWAETransformer(**{**parameters, "max_iter": 1}).fit(data[0][:1000])
    report.header("seed", "epoch", "seconds", f"accuracy after {n_epochs} epochs", "seconds of those")
    for seed in range(arguments.seeds):
        records = accuracy_by_epoch({**parameters, "random_state": seed}, data)
        reached = next((record for record in records if record[1] >= TARGET), None)
        first = (str(reached[0]), f"{reached[2]:.1f}") if reached else ("not reached", "not reached")
        last = f"{records[-1][1]:.4f}", f"{records[-1][2]:.1f}"
        report.row(seed, *map(figure, (*first, *last)))
    report.add()


def accuracy_by_epoch(parameters: dict, data) -> list[tuple[int, float, float]]:
    """Epoch, accuracy, and seconds of training so far."""
    X_train, X_test, y_train, y_test = data
    records = []
    spent, since = 0.0, clock()

    class Watched(SWAETransformer):
        def _after_epoch(self, module, epoch, record, seconds):
            nonlocal spent, since
            spent += clock() - since
            with torch.no_grad():
                Z_train, Z_test = (
                    np.concatenate([module.encode(x.to(DEVICE)).cpu().numpy() for x in rows.split(10_000)])
                    for rows in map(torch.from_numpy, (X_train, X_test))
                )
            score = KNeighborsClassifier(5).fit(Z_train, y_train).score(Z_test, y_test)
            records.append((epoch + 1, score, spent))
            since = clock()

    Watched(**parameters).fit(X_train)
    return records


def repeatable(report, data, arguments) -> None:
    """Equal bits of equal seeds, and what torch's deterministic algorithms cost."""
    report.add("## Two fits with the same seed")
    report.add()
    report.add(
        "Equal: every weight, buffer and recorded loss after two epochs. Then the same under "
        "torch.use_deterministic_algorithms(True), and its cost: seconds of an epoch by those without. "
        f"CUBLAS_WORKSPACE_CONFIG={os.environ['CUBLAS_WORKSPACE_CONFIG']} throughout."
    )
    report.add()
    report.header("network", "precision", "bit-equal", "bit-equal, deterministic", "cost of deterministic")
    for name, parameters, n_rows in (
        ("GatedMLP", swae_parameters(), len(data[0])),
        ("GatedConvNet", conv_parameters(), arguments.conv_rows),
    ):
        X = whole_batches(data[0][:n_rows], BATCH_SIZE)
        for precision in precisions():
            chosen = with_precision(parameters, precision)
            cells = [equal(chosen, X)]
            try:
                with deterministic():
                    cells.append(equal(chosen, X))
                cells.append(cost_of_deterministic(chosen, X, arguments))
            except RuntimeError as error:  # an operation that has no deterministic form
                cells += [str(error).splitlines()[0][:200]] * (3 - len(cells))
            report.row(name, precision, *map(figure, cells))
    report.add()


def equal(parameters: dict, X) -> str:
    """Whether two fits agree in every bit."""
    fits = [SWAETransformer(max_iter=2, **parameters).fit(X) for _ in range(2)]
    states = [fit.module_.state_dict() for fit in fits]
    same = all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    same = same and np.array_equal(fits[0].loss_curve_, fits[1].loss_curve_)
    return "yes" if same else "no"


def cost_of_deterministic(parameters: dict, X, arguments) -> str:
    """Ratio of the seconds with to those without."""

    def run():
        return skswae_seconds(SWAETransformer, parameters, X, clock)

    def run_deterministic():
        with deterministic():
            return run()

    seconds = interleaved({"with": run_deterministic, "without": run}, arguments.repeats)
    return ratio_cell(seconds["with"], seconds["without"])


def main():
    tables = {"mlp": mlp, "conv": conv, "peak": peak, "accuracy": accuracy, "repeatable": repeatable}
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--data", default=os.environ.get("SKSWAE_DATA"), help="folder of mnist.npz")
    options.add_argument("--rows", type=int, default=FULL, help="training rows")
    options.add_argument("--conv-rows", type=int, default=12_000, help="training rows of GatedConvNet")
    options.add_argument("--repeats", type=int, default=5, help="measurements of each side")
    options.add_argument("--epochs", type=int, default=2, help="epochs of skswae and pythae in each")
    options.add_argument("--seeds", type=int, default=3, help="of the accuracy")
    options.add_argument("--only", nargs="+", choices=tables, default=list(tables), help="tables")
    arguments = options.parse_args()
    if arguments.data is None:
        raise SystemExit("Name the folder of mnist.npz by --data or the environment variable SKSWAE_DATA.")
    logging.disable(logging.INFO)
    data = load(arguments.data)
    if not CUDA:  # one measurement on few rows, whatever was asked for
        torch.set_num_threads(1)
        arguments.rows, arguments.conv_rows = REHEARSAL_ROWS, BATCH_SIZE
        arguments.repeats = arguments.epochs = arguments.seeds = 1
        data = tuple(array[:REHEARSAL_ROWS] for array in data)
    data = data[0][: arguments.rows], data[1], data[2][: arguments.rows], data[3]
    report = Report("Seconds of an epoch on a CUDA device", arguments.output)
    if CUDA:
        properties = torch.cuda.get_device_properties(0)
        report.add(
            f"Device: {properties.name}, {properties.total_memory / 2**30:.0f} GiB, compute capability "
            f"{properties.major}.{properties.minor}, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}. Least number of steps for a CUDA graph: "
            f"{graph_modules()[0].GRAPH_MIN_STEPS if graph_modules() else 'there are none'}."
        )
    else:
        report.add(
            "**No CUDA device was found.** Everything below ran on the CPU on a few rows, to see that it "
            "works; nothing was measured."
        )
    report.add()
    report.add(
        f"MNIST, {len(data[0]):,} training rows. Wall-clock seconds, the device synchronised at both ends, "
        f"scaled to {FULL:,} rows: the median and, in brackets, the range of {arguments.repeats} "
        f"measurement(s) taken in turns. skswae and pythae: a fresh fit each, the mean of {arguments.epochs} "
        f"epoch(s) after its first; Adam at a constant {LEARNING_RATE}. Ratios are of medians, in brackets "
        f"the range within a turn. Precision by default: {precisions()[0]}."
    )
    report.add()
    for name, add_table in tables.items():
        if name in arguments.only:
            add_table(report, data, arguments)


if __name__ == "__main__":
    main()
