"""ONNX files: what onnxruntime computes beside the estimator, sizes, seconds, and the time of one row.

Each case is a fitted model whose three parts are written and run, on batches of 1 row and of 10,000. A file
agrees if no number differs by more than 1e-5 of its column's standard deviation. In decoded rows, columns
that hardly vary count with the root mean variance of all, and float32's spacing at a number is taken off.
"""

from __future__ import annotations

import collections
import pathlib
import tempfile
import time
import warnings

import numpy as np
import onnxruntime
import torch
from _harness import Part, Store, interleaved, parser, timed, yes
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from torch import nn

import skswae
from skswae.networks import DCGANNet, GatedConvNet

LIMIT = 1e-5
N_ROWS = 10_000
PARTS = {"encoder": "transform", "decoder": "inverse_transform", "reconstruction": "reconstruct"}


class TransformerNet(BaseEstimator):
    """A network of one's own: each number of a row is a token of a transformer."""

    def build_encoder(self, n_features, n_outputs):
        """Tokens of a row, attention, the mean of them."""
        return _Tokens(n_outputs)

    def build_decoder(self, n_components, n_features):
        """Two layers with batch norm and dropout."""
        return nn.Sequential(
            nn.Linear(n_components, 32),
            nn.BatchNorm1d(32),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(32, n_features),
        )


class _Tokens(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.first, self.last = nn.Linear(1, 8), nn.Linear(8, n_outputs)
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        return self.last(self.attention(self.first(x[:, :, None])).mean(dim=1))


def cases():
    """Yield the name of each case, an estimator and its rows."""
    digits = load_digits().data
    unit = digits / 16
    binary = (unit > 0.5).astype(float)
    plane = np.random.default_rng(0).normal(size=(500, 2)) @ np.random.default_rng(1).normal(size=(2, 10))
    conv = GatedConvNet((1, 8, 8), encoder_filters=(16, 16, 16, 16, 6), decoder_filters=(16, 16))
    dcgan = DCGANNet((1, 8, 8), filters=(16, 32, 64))
    few = {"n_pseudo_inputs": 50}
    AE, VAE, WAE = skswae.AETransformer, skswae.VAETransformer, skswae.WAETransformer
    SWAE, Vamp, MIM = skswae.SWAETransformer, skswae.VampPriorTransformer, skswae.MIMTransformer
    yield "AE", AE(), unit
    yield "SWAE", SWAE(), unit
    yield "SWAE, identity output", SWAE(), digits
    yield "SWAE, cross-entropy", SWAE(reconstruction="binary_cross_entropy"), unit
    for divergence in ("mmd", "gan", "sliced", "sinkhorn"):
        yield f"WAE, {divergence}", WAE(divergence=divergence), unit
    yield "VAE, Gaussian, identity output", VAE(), digits
    yield "VAE, Gaussian by feature, sigmoid", VAE(likelihood_scale="per_feature"), unit
    yield "VAE, Bernoulli", VAE(), binary
    yield "VAE, discretised logistic", VAE(likelihood="discretized_logistic", n_bins=17), unit
    yield "VampPrior, Gaussian", Vamp(**few), unit
    yield "VampPrior, discretised logistic", Vamp(likelihood="discretized_logistic", n_bins=17, **few), unit
    yield "VampPrior, one level", Vamp(1, **few), unit
    yield "symmetric MIM, Bernoulli", MIM(sampling="symmetric", **few), binary
    yield "symmetric MIM, Gaussian, identity output", MIM(sampling="symmetric", **few), digits
    for Estimator in (AE, VAE, WAE, SWAE, Vamp, MIM):
        name, own = Estimator.__name__[:-11], few if Estimator in (Vamp, MIM) else {}
        yield f"{name}, GatedConvNet", Estimator(network=conv, **own), unit
        yield f"{name}, DCGANNet", Estimator(network=dcgan, **own), unit
    yield "SWAE, a transformer of one's own", SWAE(network=TransformerNet()), unit
    yield "VampPrior, a transformer of one's own", Vamp(network=TransformerNet(), **few), unit
    yield "SWAE, init='random'", SWAE(init="random"), unit
    yield "SWAE, wine in its units", SWAE(2), load_wine().data
    yield "SWAE, iris + 10,000", SWAE(2), load_iris().data + 1e4
    yield "SWAE, iris times 1e-6", SWAE(2), load_iris().data * 1e-6
    yield "WAE, 8 components of a plane", WAE(8), plane
    yield "VAE, 8 components of a plane", VAE(8), plane


def many(X):
    """Return 10,000 float32 rows, the data and mixtures of pairs of them."""
    rng = np.random.default_rng(0)
    i, j = rng.integers(len(X), size=(2, N_ROWS))
    share = rng.random((N_ROWS, 1))
    rows = np.where(np.arange(N_ROWS)[:, None] < len(X), X[i], share * X[i] + (1 - share) * X[j])
    return rows.astype(np.float32)


def difference(found, expected, unit, spread):
    """Return the largest difference over the standard deviation, what float32 cannot tell apart taken off."""
    off = np.abs(found.astype(float) - expected) - np.where(unit, np.spacing(np.abs(expected)), 0.0)
    return float((np.maximum(off, 0.0) / np.where(spread > 0, spread, 1.0)).max())


def measure(folder, model, X):
    """Fit a model, write and run its parts: {part: figures}."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs
        model.fit(X)
    rows = many(X)
    codes, results = model.transform(rows), {}
    for part, method in PARTS.items():
        path = pathlib.Path(folder) / "part.onnx"
        seconds = timed(time.process_time, skswae.export_onnx, model, path, part)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (source,), given = session.get_inputs(), codes if part == "decoder" else rows
        expected = getattr(model, method)(given)
        exact = getattr(model, method)(given.astype(float))
        spread, is_row = expected.std(axis=0, dtype=float), part != "encoder"
        if is_row:
            spread = np.maximum(spread, np.sqrt(np.mean(spread**2)))
        (found,) = session.run(None, {source.name: given})
        single = np.vstack([session.run(None, {source.name: given[i : i + 1]})[0] for i in range(50)])
        results[part] = {
            "together": difference(found, expected, is_row, spread),
            "alone": difference(single, expected[:50], is_row, spread),
            "float32": difference(expected, exact, is_row, spread),
            "kilobytes": path.stat().st_size / 1000,
            "seconds": seconds,
        }
    return results


def latency(page, folder, n_calls):
    """Add the time of one row."""
    page.section(
        f"One row: milliseconds of a call, {n_calls} of each, in turns",
        "The 10th percentile, since other work on the machine lengthens some. `transform` checks its "
        "argument and its result; onnxruntime's call checks neither.",
    )
    page.header(
        "model | features | onnxruntime | transform, float32 | transform, float64 | float32 / onnxruntime"
    )
    noise = np.random.default_rng(0).random((500, 784), dtype=np.float32)
    digits, quick = load_digits().data / 16, {"max_iter": 1, "random_state": 0, "device": "cpu"}
    conv = GatedConvNet((1, 28, 28))
    models = [
        ("SWAE, the default", skswae.SWAETransformer(**quick), digits),
        ("SWAE, the default", skswae.SWAETransformer(**quick), noise),
        ("VampPrior, the default", skswae.VampPriorTransformer(n_pseudo_inputs=50, **quick), digits),
        ("SWAE, GatedConvNet", skswae.SWAETransformer(network=conv, **quick), noise[:64]),
    ]
    for name, model, X in models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch
            model.fit(X)
        path = pathlib.Path(folder) / "latency.onnx"
        skswae.export_onnx(model, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        row = X[:1].astype(np.float32)
        calls = {
            "onnx": (session.run, None, {"X": row}),
            "float32": (model.transform, row),
            "float64": (model.transform, row.astype(float)),
        }
        runs = {key: lambda call=call: timed(time.perf_counter, *call) for key, call in calls.items()}
        found = interleaved(runs, n_calls + 20)
        ms = [1000 * float(np.percentile(found[key][20:], 10)) for key in calls]
        page.row(name, X.shape[1], *(f"{value:.3f}" for value in ms), f"{ms[1] / ms[0]:.1f}")
    page.add()


def main():
    arguments = parser(__doc__, "resume")
    arguments.add_argument("--max-iter", type=int, default=10, help="epochs of each fit")
    arguments.add_argument("--calls", type=int, default=300, help="calls for each latency")
    arguments = arguments.parse_args()
    torch.set_num_threads(1)
    page, store = Part("ONNX", arguments.output), Store(arguments.resume)
    page.paragraph(f"onnxruntime {onnxruntime.__version__}, operators of version {skswae.export.OPSET}.")
    page.paragraph(" ".join(__doc__.split("\n\n")[1].split()))
    page.paragraph(
        f"10,000: the largest difference in a batch of {N_ROWS:,} rows; 1: in batches of one, 50 of them; "
        "float32: by what the estimator's own float32 differs from its float64. Seconds are a processor's."
    )
    page.header("model | part | 10,000 | 1 | float32 | agrees | kB | s")
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, model, X in cases():
            model.set_params(max_iter=arguments.max_iter, random_state=0, device="cpu")
            results = store.get({"case": name, "max_iter": arguments.max_iter}, measure, folder, model, X)
            for part in PARTS:
                figures = results[part]
                differences = [figures[key] for key in ("together", "alone", "float32")]
                agrees = max(differences[:2]) <= LIMIT
                counts["agreed" if agrees else "differed"] += 1
                cells = *(f"{value:.1e}" for value in differences), yes(agrees)
                page.row(name, part, *cells, f"{figures['kilobytes']:,.0f}", f"{figures['seconds']:.1f}")
        page.add()
        page.paragraph(
            f"Files tried: {counts.total()}. Agreed: {counts['agreed']}. Differed: {counts['differed']}."
        )
        page.paragraph(store.note())
        latency(page, folder, arguments.calls)


if __name__ == "__main__":
    main()
