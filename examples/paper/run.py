"""Run the paper's experiments: every (data set, dim-z, model, trial) of a preset, one small JSON file each.

    python examples/paper/run.py --preset smoke

What is done already is skipped; a run that was killed goes on from its last checkpoint. Start the command
several times, or with --processes, to share the runs of one folder; --shard 1/3, 2/3, 3/3 shares them between
machines that have none in common. Then examples/paper/report.py makes the tables and figures.

Your own data and your own estimator:

    python examples/paper/run.py --data my.csv --target label --dims 2 8 --models swae-0.5 vae pca
    python examples/paper/run.py --data mnist --dims 8 --estimator umap:UMAP --parameters '{"n_jobs": 1}'
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import warnings
from typing import Any

import _measures
import _treatments
import joblib
import numpy as np
import torch
from _shared import circumstances, put
from configurations import DATA, MODELS, PRESETS, Preset
from results import Folder

from skswae.metrics import ClassifierFeatures


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell of the tables, one trial."""

    data: str
    n_components: int
    model: str
    trial: int

    @property
    def key(self) -> str:
        """Return what its files are called."""
        return f"{pathlib.Path(self.data).stem}_{self.n_components}_{self.model}_{self.trial}"


def make_estimator(run: Run, preset: Preset, custom: dict[str, tuple[str, dict]], device: str) -> Any:
    """Return an unfitted estimator, without what a split decides."""
    if run.model in custom:
        name, parameters = custom[run.model]
    else:
        name, parameters = MODELS[run.model][1], preset.parameters(run.data, run.model)
    estimator = find_class(name)()
    known = estimator.get_params()
    shared = {"n_components": run.n_components, "random_state": run.trial, "device": device}
    # a foreign class has what of these it has, and none of what a preset says to all models
    parameters = {n: v for n, v in parameters.items() if n in known or run.model in custom}
    return estimator.set_params(**{n: v for n, v in shared.items() if n in known} | parameters)


def find_class(name: str) -> Any:
    """Return a class of skswae, or of any module as MODULE:CLASS."""
    module, _, attribute = name.rpartition(":")
    return getattr(importlib.import_module(module or "skswae"), attribute)


def timed_fit(estimator: Any, X: np.ndarray, **arguments: Any) -> dict[str, Any]:
    """Fit in place, and return what is to be remembered of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, **arguments)
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "n_iter": getattr(estimator, "n_iter_", None),
        "warnings": sorted({str(w.message) for w in caught}),
        **circumstances(),
    }


def fit(
    estimator: Any, split: _treatments.Split, checkpoint: pathlib.Path, checkpoint_seconds: float
) -> dict[str, Any]:
    """Fit in place, from a checkpoint if there is one, and return what is to be remembered of it."""
    arguments: dict[str, Any] = {}
    accepted = inspect.signature(estimator.fit).parameters
    if "checkpoint" in accepted:
        # kept until the model is stored
        arguments = {"checkpoint": checkpoint, "keep_checkpoint": True}
        arguments["checkpoint_seconds"] = checkpoint_seconds
    if "X_val" in accepted and getattr(estimator, "early_stopping", False) is True and len(split.X_val):
        arguments["X_val"] = split.X_val
    resumed = checkpoint.exists()  # then the seconds are those of the last part
    return timed_fit(estimator, split.X_train, **arguments) | {"resumed": resumed}


class Runner:
    """Fits and measures the runs of a preset."""

    def __init__(self, preset: Preset, folder: Folder, options: argparse.Namespace, custom: dict):
        self.preset, self.folder, self.options, self.custom = preset, folder, options, custom
        self._split: tuple[Any, Any] = (None, None)

    def split(self, run: Run) -> _treatments.Split:
        """Return the run's data; the last one's are kept."""
        if self._split[0] != (run.data, run.trial):
            self._split = (None, None)
            self._split = (run.data, run.trial), _treatments.load(run.data, run.trial, self.options.data_home)
        return self._split[1]

    def do(self, run: Run) -> str:
        """Bring one run to its end, from wherever it is, and say what was done."""
        with self.folder.claimed(run.key) as mine:
            if not mine:
                return "is being done elsewhere"
            estimator = make_estimator(run, self.preset, self.custom, self.options.device)
            split = self.split(run)
            if split.augment is not None and "augment" in estimator.get_params():
                estimator.set_params(augment=split.augment)
            parameters = estimator.get_params()
            what = [_name_of(estimator), split.digest, _without_device(parameters)]
            if run.model in self.custom:
                what.append(_source_of(estimator))
            fingerprint = joblib.hash(what)
            record = self.folder.record(run.key)
            if record is not None and record["fingerprint"] == fingerprint:
                if record["error"] is not None:
                    if not self.options.retry:
                        return "failed before: --retry tries again"
                elif self.options.fit_only or record["measures_version"] == _measures.VERSION:
                    return "done before"
            elif record is not None and (run.data not in DATA or run.model in self.custom):
                return (
                    "failed: results of other rows, parameters or code have this name. "
                    "Name another folder by --results, or remove them"
                )
            self.folder.clean(run.key)
            description = self.describe(run, estimator, fingerprint)
            checkpoint = self.folder.state / f"{run.key}_{fingerprint[:8]}.ckpt"
            try:
                return self.fit_and_measure(run, estimator, split, checkpoint, description)
            except Exception as error:  # of any kind: other runs are not to suffer, and it is recorded
                failure = {"error": f"{type(error).__name__}: {error}", "fit": circumstances()}
                self.folder.write_record(run.key, description | failure)
                checkpoint.unlink(missing_ok=True)
                return f"failed: {type(error).__name__}: {error}"

    def fit_and_measure(
        self,
        run: Run,
        estimator: Any,
        split: _treatments.Split,
        checkpoint: pathlib.Path,
        description: dict[str, Any],
    ) -> str:
        """Do what is left of a run."""
        fingerprint = description["fingerprint"]
        kept = self.folder.model(run.key, fingerprint)
        if kept is None:
            how = "goes on from a checkpoint" if checkpoint.exists() else "is being fitted"
            print(f"{run.key} {how}", flush=True)
            notes = fit(estimator, split, checkpoint, self.options.checkpoint_seconds)
            self.folder.write_model(run.key, estimator, notes, fingerprint)
            kept = estimator, notes
        for done in self.folder.checkpoints(run.key):
            done.unlink(missing_ok=True)
        model, notes = kept
        outcome = f"fitted in {notes['seconds']:.0f} s"
        if self.options.fit_only:
            return outcome
        start = time.perf_counter()
        measures = self.judge(model, split, run)
        seconds = time.perf_counter() - start
        results = {"measures": measures, "measures_version": _measures.VERSION}
        results |= {"fit": notes, "measuring_seconds": seconds, "error": None}
        self.folder.write_record(run.key, description | results)
        return f"{outcome}, measured in {seconds:.0f} s"

    def describe(self, run: Run, estimator: Any, fingerprint: str) -> dict[str, Any]:
        """Return what a record says about its run."""
        return {
            **dataclasses.asdict(run),
            "preset": self.options.preset,
            "seed": run.trial,
            "class": _name_of(estimator),
            "parameters": {name: plain(value) for name, value in estimator.get_params().items()},
            "fingerprint": fingerprint,
        }

    def judge(self, model: Any, split: _treatments.Split, run: Run) -> dict[str, float]:
        """Return all measures of a fitted model."""
        several = split.y_train is not None and len(np.unique(split.y_train)) > 1
        features = self.features(split) if several else None
        return _measures.judge(model, split, run.trial, self.preset.n_samples, features)

    def features(self, split: _treatments.Split) -> Any:
        """Return a classifier of the training rows, for the second Frechet distance."""
        path = self.folder.models / f"classifier_{split.digest}.joblib"
        with self.folder.claimed(path.stem, wait=True):
            if not path.exists():
                classifier = ClassifierFeatures(random_state=0).fit(split.X_coded, split.y_train)
                put(path, lambda to: joblib.dump(classifier, to))
            return joblib.load(path)


def _name_of(estimator: Any) -> str:
    cls = type(estimator)
    ours = f"{cls.__module__}.".startswith("skswae.")
    return cls.__name__ if ours else f"{cls.__module__}:{cls.__qualname__}"


def _source_of(estimator: Any) -> str | None:
    with contextlib.suppress(OSError, TypeError):  # of a class that was typed in
        return inspect.getsource(type(estimator))
    return None


def _without_device(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in ("device", "verbose")}


def plain(value: Any) -> Any:
    """Return a parameter as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return " ".join(repr(value).split())


def chosen_runs(options: argparse.Namespace, preset: Preset, custom: dict) -> list[Run]:
    """List the runs that the options ask for, trial by trial."""
    models = options.models or ([*custom] if custom else [*preset.models])
    if custom:
        models = list(dict.fromkeys([*models, *custom]))
    cells: list[tuple[str, int]] = []
    for data in options.data or preset.cells:
        dims = options.dims or preset.cells.get(data)
        if not dims:
            raise SystemExit(f"--dims must be given for {data!r}, which the preset does not name.")
        cells += [(data, n) for n in dims]
    trials = options.trials or range(preset.trials)
    runs = [Run(data, n, model, trial) for trial in trials for data, n in cells for model in models]
    if options.shard is not None:
        index, count = options.shard
        # by name, so that a machine's share does not depend on what else is asked for
        runs = [r for r in runs if int(hashlib.md5(r.key.encode()).hexdigest(), 16) % count == index - 1]
    return runs


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"must be such as 2/3. Got {text!r}.")
    return int(index), int(count)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="cpu", help="default: cpu")
    add("--results", type=pathlib.Path, default=pathlib.Path("paper_results"), help="default: paper_results")
    add("--data", nargs="+", metavar="NAME", help=f"{', '.join(DATA)}; or a .csv, .npy or .npz file")
    add("--target", help="column of a .csv file that holds the labels")
    add("--dims", nargs="+", type=_positive, metavar="N", help="values of dim-z")
    add("--models", nargs="+", metavar="MODEL", help=f"of {', '.join(MODELS)}")
    add("--trials", nargs="+", type=int, metavar="T", help="numbers of trials: seeds")
    add("--estimator", metavar="MODULE:CLASS", help="a transformer of your own; it is called by its class")
    add("--parameters", type=_json, default={}, metavar="JSON", help="of that estimator")
    add("--data-home", help="folder of the data sets; default: the environment variable SKSWAE_DATA")
    add("--device", default="auto")
    add("--threads", type=int, help="torch's threads a process; default: 1 with --processes, else torch's")
    add("--processes", type=int, default=1)
    add("--shard", type=_shard, metavar="I/N", help="the I-th of N parts of the runs")
    add("--checkpoint-seconds", type=float, default=60.0, metavar="S", help="between two writings of a fit")
    add("--fit-only", action="store_true", help="measure later")
    add("--retry", action="store_true", help="try runs again that failed")
    options = parser.parse_args(arguments)
    for model in options.models or ():
        if model not in MODELS:
            parser.error(f"--models must be of {', '.join(MODELS)}. Got {model!r}.")
    if options.parameters and options.estimator is None:
        parser.error("--parameters are of the class that --estimator names, which is missing.")
    return options


def _stop(signum: int, frame: Any) -> None:
    print("Stopped: the same command goes on from here.", file=sys.stderr, flush=True)
    sys.exit(128 + signum)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(
            f"must be JSON, such as '{{\"alpha\": 0.1}}'. Got {text!r}."
        ) from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be an object, such as '{{\"alpha\": 0.1}}'. Got {text!r}.")
    return value


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1. Got {text!r}.")
    return int(text)


def own_estimator(options: argparse.Namespace) -> dict[str, tuple[str, dict]]:
    """Return the estimator that --estimator names, by its key, or end the program."""
    if ":" not in options.estimator:
        raise SystemExit(f"--estimator must be MODULE:CLASS. Got {options.estimator!r}.")
    sys.path.insert(0, os.getcwd())
    try:
        known = find_class(options.estimator)().get_params()
    except (ImportError, AttributeError, TypeError) as error:
        raise SystemExit(
            f"--estimator must name a scikit-learn transformer that can be made without arguments. "
            f"Got {options.estimator!r}: {error}"
        ) from error
    if not hasattr(find_class(options.estimator), "transform"):
        raise SystemExit(f"--estimator must have a method 'transform'. Got {options.estimator!r}.")
    allowed = set(known) - {"n_components", "random_state"}  # which --dims and --trials set
    unknown = set(options.parameters) - allowed
    if unknown:
        raise SystemExit(
            f"--parameters must be of {', '.join(sorted(allowed))}. Got {', '.join(sorted(unknown))}."
        )
    name = options.estimator.rpartition(":")[2].lower()
    return {f"own-{name}" if name in MODELS else name: (options.estimator, options.parameters)}


def read_own_files(options: argparse.Namespace) -> None:
    """Read the files that --data names, or end the program."""
    for path in options.data or ():
        if path not in DATA:
            stem = pathlib.Path(path).stem  # what results are called by
            if stem in {*DATA, *(pathlib.Path(other).stem for other in _treatments.own_files)}:
                raise SystemExit(f"--data: {path} needs another name: {stem!r} is that of another data set.")
            try:
                _treatments.own_files[path] = _treatments.read_file(path, options.target)
            except (ValueError, OSError) as error:
                raise SystemExit(str(error)) from error


def share_among_processes(options: argparse.Namespace, arguments: list[str]) -> int:
    """Start the same command several times, and return whether any run failed."""
    if importlib.util.find_spec("fcntl") is None:
        raise SystemExit("--processes needs locks that this system lacks: use --shard instead.")
    command = [sys.executable, __file__, *arguments, "--processes", "1"]
    if options.threads is None:
        command += ["--threads", "1"]
    started = [subprocess.Popen(command) for _ in range(options.processes)]
    try:
        codes = [process.wait() for process in started]  # of all: any() would stop at the first
        return int(any(codes))
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()


def main(arguments: list[str] | None = None) -> int:
    """Do all runs, and return whether any failed."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        # a fit takes KeyboardInterrupt for a wish to keep what it has; here it is to go on later
        signal.signal(number, _stop)
    if options.processes > 1:
        return share_among_processes(options, sys.argv[1:] if arguments is None else arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    preset = PRESETS[options.preset]
    custom = {} if options.estimator is None else own_estimator(options)
    read_own_files(options)
    runner = Runner(preset, Folder(options.results / options.preset), options, custom)
    runs = chosen_runs(options, preset, custom)
    outcomes = []
    for i, run in enumerate(runs, start=1):
        outcomes.append(runner.do(run))
        print(f"[{i}/{len(runs)}] {run.key}: {outcomes[-1]}", flush=True)
    n_elsewhere = sum("elsewhere" in outcome for outcome in outcomes)
    if n_elsewhere:
        print(f"{n_elsewhere} runs were being done elsewhere: start again to be sure of them.", flush=True)
    return int(any(outcome.startswith("failed") for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
