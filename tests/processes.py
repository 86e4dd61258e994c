"""What each of several processes does in test_processes.py: ``torchrun processes.py SCENARIO FOLDER``.

With a third argument, the address of a store, it makes the group itself, as the second of two processes.
"""

import os
import pathlib
import pickle
import signal
import sys
import warnings

import numpy as np
import pyarrow
import torch
import torch.distributed as dist
from joblib import Parallel, delayed
from pyarrow import parquet
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, KFold
from torch import nn

import skswae
from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
    save_model,
)
from skswae.data import ArrayData, DataSource, LocalRows, ParquetRows
from skswae.networks import GatedMLP

X = load_digits().data[:301].astype(np.float32)
Y = load_digits().target[:301]
RANK, SIZE = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))

SETTINGS = {"network": GatedMLP((24,)), "max_iter": 3, "batch_size": 50, "random_state": 0}


class BatchNormNet(BaseEstimator):
    def build_encoder(self, n_features, n_outputs):
        return nn.Sequential(
            nn.Linear(n_features, 12), nn.BatchNorm1d(12), nn.Dropout(0.2), nn.Linear(12, n_outputs)
        )

    def build_decoder(self, n_components, n_features):
        return self.build_encoder(n_components, n_features)


def _with_noise(x, generator):
    return x + torch.randn(x.shape, generator=generator)


class Streamed(DataSource):
    """Rows in an order of their own."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def read(self, index):
        return self.X[index]

    def shuffled(self, batch_size, seed):
        for index in np.array_split(
            np.arange(len(self))[:: 1 if seed % 2 else -1], self.n_batches(batch_size)
        ):
            yield self.X[index]


MODELS = {
    "swae": lambda: SWAETransformer(3, **SETTINGS),
    "swae, early stopping": lambda: SWAETransformer(3, early_stopping=True, **SETTINGS),
    "swae, fewer rows than processes": lambda: SWAETransformer(
        3, **{**SETTINGS, "batch_size": 3, "max_iter": 1}
    ),
    "swae, neighbours": lambda: SWAETransformer(2, neighbor_weight=4.0, target_weight=0.5, **SETTINGS),
    "swae, latent, normalized_adam": lambda: SWAETransformer(
        3, assignment_space="latent", solver="normalized_adam", **SETTINGS
    ),
    "ae": lambda: AETransformer(3, init="random", **SETTINGS),
    "vae": lambda: VAETransformer(3, early_stopping=True, warmup=1, **SETTINGS),
    "mmd": lambda: WAETransformer(3, **SETTINGS),
    "gan": lambda: WAETransformer(3, divergence="gan", critic_penalty=0.1, **SETTINGS),
    "sliced": lambda: WAETransformer(3, divergence="sliced", **SETTINGS),
    "sinkhorn": lambda: WAETransformer(3, divergence="sinkhorn", **SETTINGS),
    "vampprior": lambda: VampPriorTransformer(4, n_pseudo_inputs=70, early_stopping=True, **SETTINGS),
    "mim": lambda: MIMTransformer(4, n_pseudo_inputs=70, **SETTINGS),
    "mim, symmetric": lambda: MIMTransformer(4, sampling="symmetric", n_pseudo_inputs=30, **SETTINGS),
}


def described(model):
    return {
        "history": model.history_,
        "codes": model.transform(X),
        "samples": model.sample(20, random_state=0),
        "state": {name: value.numpy() for name, value in model.module_.state_dict().items()},
    }


def fits(names, folder):
    path = folder / f"rows_{RANK}.parquet"
    parquet.write_table(
        pyarrow.table({f"c{i}": column for i, column in enumerate(X.T)}), path, row_group_size=40
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: described(MODELS[name]().fit(X, Y)) for name in names}
        source = SWAETransformer(3, **SETTINGS).fit(Streamed(X))
        rows = ParquetRows(path, shuffle_bytes=100 * 64 * 4)
        found["parquet"] = described(SWAETransformer(3, early_stopping=True, **SETTINGS).fit(rows))
        found["a source of one's own"] = described(source)
        parts = SWAETransformer(3, **SETTINGS)
        for rows in (X[:100], X[100:200], X[200:]):
            parts.partial_fit(rows)
        found["partial_fit"] = described(parts)
        source.set_params(warm_start=True).fit(Streamed(X))
        found["warm_start"] = described(source)
    return found


def two(folder, rank):
    """Fit what shows most of what two processes do in least time."""
    found = {name: described(MODELS[name]().fit(X)) for name in ("swae", "mmd")}
    parts = SWAETransformer(3, **SETTINGS).partial_fit(X[:150])
    found["partial_fit"] = described(parts.partial_fit(X[150:]))
    own = LocalRows(X[:120] if rank == 0 else X[120:])
    augmented = VAETransformer(3, augment=_with_noise, early_stopping=True, **SETTINGS)
    found["own rows"] = described(augmented.fit(own, checkpoint=folder / "own.checkpoint"))
    errors = {"rows": X[rank:], "NaN": X * np.nan if rank == 1 else X}
    for name, rows in errors.items():
        try:
            SWAETransformer(3, **SETTINGS).fit(rows)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    save_model(parts, folder / f"model_{rank}.safetensors")
    return found


def every(folder):
    return fits(MODELS, folder)


def own_code(folder):
    """Networks and functions that draw for themselves; batch statistics."""
    model = VAETransformer(
        3, **{**SETTINGS, "network": BatchNormNet()}, augment=_with_noise, early_stopping=True
    )
    return described(model.fit(X))


def own_rows(folder):
    """Each process has rows of its own; the first one has more."""
    cut = [0, *(120 + 181 * r // SIZE for r in range(1, SIZE)), len(X)]
    rows = X[cut[RANK] : cut[RANK + 1]]
    settings = {**SETTINGS, "max_iter": 20}
    model = SWAETransformer(3, **settings).fit(LocalRows(rows))
    stopped = VAETransformer(3, early_stopping=True, **settings).fit(LocalRows(ArrayData(rows)))
    path = folder / "own.checkpoint"
    kept = SWAETransformer(3, **SETTINGS).fit(LocalRows(rows), checkpoint=path, keep_checkpoint=True)
    again = SWAETransformer(3, **SETTINGS).fit(LocalRows(rows), checkpoint=path)
    np.testing.assert_array_equal(kept.transform(X), again.transform(X))
    return {
        "model": described(model),
        "stopped": described(stopped),
        "usage": model.module_.usage.sum().item(),
    }


def errors(folder):
    """What goes wrong in one process is said in all."""

    def text(model, *arguments, **named):
        try:
            model.fit(*arguments, **named)
        except Exception as error:
            assert not hasattr(model, "module_")
            return f"{type(error).__name__}: {error}"
        return "nothing"

    def going_on(model, rows):
        try:
            model.partial_fit(rows)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    with_nan = X.copy()
    with_nan[7, 3] = np.nan
    os.environ["SKSWAE_DISTRIBUTED"] = "0"
    fitted = [AETransformer(2, **{**SETTINGS, "random_state": seed}).fit(X) for seed in (0, RANK)]
    del os.environ["SKSWAE_DISTRIBUTED"]
    failing = AETransformer(2, augment=_Failing(), **SETTINGS)
    search = GridSearchCV(failing, {"batch_size": [50, 60]}, cv=KFold(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = search.fit(X).cv_results_["mean_test_score"]
    return {
        "one process's rows": text(AETransformer(2), with_nan if RANK == 1 else X),
        "one process's own rows": text(AETransformer(2), LocalRows(with_nan if RANK == 1 else X)),
        "other rows": text(AETransformer(2), X[RANK : RANK + 200]),
        "other held-out rows": text(
            AETransformer(2, early_stopping=True), X, X_val=X[50 * RANK : 50 * RANK + 50]
        ),
        "other classes": text(AETransformer(2, neighbor_weight=1.0, target_weight=0.5), X, np.roll(Y, RANK)),
        "fewer rows": text(AETransformer(2), X[RANK:]),
        "other columns": text(AETransformer(2), X[:, RANK:]),
        "another parameter": text(AETransformer(2 + RANK), X),
        "another network": text(AETransformer(2, network=GatedMLP((10 + RANK,))), X),
        "too few own rows": text(AETransformer(2, batch_size=4), LocalRows(X if RANK else X[:10])),
        "too few rows": text(AETransformer(2), X[: SIZE - 1 or 1]),
        "own and others": text(AETransformer(2), LocalRows(X) if RANK else X),
        "a checkpoint": text(AETransformer(2), X, checkpoint=folder / "file.txt"),
        "a checkpoint of one": text(AETransformer(2), X, checkpoint=folder / "one" if RANK else None),
        "held-out rows of one": text(AETransformer(2), X, X_val=X if RANK else None),
        "an error in training": text(AETransformer(2, augment=_Failing(), **SETTINGS), X),
        "an error in one fit of a search": scores,
        "a model that goes on": going_on(fitted[0], X),
        "other fitted models": going_on(fitted[1], X),
        "fewer rows than processes": going_on(fitted[0], X[:1]),
        "then": described(AETransformer(2, **SETTINGS).fit(X))["codes"],
    }


class _Failing:
    """Fails once, in one process."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, x, generator):
        self.n_calls += 1
        if RANK == 1 and self.n_calls == 4:
            raise RuntimeError("no augmentation")
        return x

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return _Failing, ()


def who(folder):
    """Workers within a process are no processes of the group; one process writes the model."""
    found = {"first": skswae._processes.is_first()}
    search = GridSearchCV(SWAETransformer(**SETTINGS), {"n_components": [2, 3]}, cv=KFold(2))
    # before this process has shared a fit, and after
    found["workers before"] = Parallel(2)(delayed(_score)(k) for k in (2, 3))
    shared = search.fit(X)
    found["shared"] = shared.cv_results_["mean_test_score"]
    for backend in ("loky", "multiprocessing", "threading"):
        found[f"workers of {backend}"] = Parallel(2, backend=backend)(delayed(_score)(k) for k in (2, 3))
    save_model(shared.best_estimator_, folder / f"model_{RANK}.safetensors")
    os.environ["SKSWAE_DISTRIBUTED"] = "0"
    found["alone"] = _score(2 + RANK)
    return found


def _score(k):
    return SWAETransformer(k, **SETTINGS).fit(X).score(X)


def killed(folder):
    """Kill a process in the middle of an epoch, once."""
    mark = folder / "killed"
    augment = _Killing(mark) if RANK == 1 else _Killing(None)
    settings = {**SETTINGS, "max_iter": 8, "network": BatchNormNet()}
    model = SWAETransformer(3, augment=augment, early_stopping=True, **settings)
    return described(model.fit(X, checkpoint=folder / "fit.checkpoint", checkpoint_seconds=0))


class _Killing:
    """Equal in all processes and lives, as the parameters of a fit that goes on must be."""

    def __init__(self, mark):
        self.mark = mark
        self.n_calls = 0

    def __call__(self, x, generator):
        self.n_calls += 1
        if self.mark is not None and self.n_calls == 33 and not self.mark.exists():
            self.mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def __reduce__(self):
        return _Killing, (None,)


def main(scenario, folder, *address):
    rank = RANK
    if address:
        rank = 1
        dist.init_process_group("gloo", init_method=address[0], rank=rank, world_size=2)
    folder = pathlib.Path(folder)
    found = globals()[scenario](folder, *([rank] if address else []))
    (folder / f"{scenario}_{rank}.pkl").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
