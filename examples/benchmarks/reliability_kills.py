"""Fits that are killed, and started again: do they go on, and end as undisturbed ones do?

Two estimators are fitted on 200 digits for 40 epochs, with a checkpoint after each. A process that fits is
killed by SIGKILL, in turn after a random time and while the file is being written, and the same fit is
started again, until it comes to its end; then all begins anew. Then files are changed, disks are filled and
made read-only.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
import torch
from _harness import Part, Store, parser, yes
from sklearn.datasets import load_digits

import skswae
from skswae import SWAETransformer, WAETransformer, _fit
from skswae.networks import GatedMLP
from skswae.training import _checkpoint
from skswae.training._callbacks import Callback

X = load_digits().data[:200] / 16
SMALL: dict[str, Any] = {"network": GatedMLP((32,)), "n_components": 2, "random_state": 0, "device": "cpu"}
MODELS: dict[str, Callable[..., Any]] = {
    "SWAE": lambda **p: SWAETransformer(**{**SMALL, "max_iter": 40, "n_pseudo_inputs": 20, **p}),
    "WAE-GAN": lambda **p: WAETransformer(
        **{**SMALL, "max_iter": 40, "divergence": "gan", "critic_layer_sizes": (16,), **p}
    ),
}


def digest(model: Any) -> str:
    """Return a hash of all numbers of a fitted model."""
    state = {name: value.numpy() for name, value in model.module_.state_dict().items()}
    return joblib.hash([state, model.history_, model.n_iter_])


def epochs_in(path: pathlib.Path) -> int | None:
    """Return how many epochs the file holds; None if there is none."""
    saved = _checkpoint.read(path)
    return None if saved is None else len(saved["state"]["history"])


class AtEpochs(Callback):
    """Calls functions at the beginning of epochs."""

    def __init__(self, actions: dict[int, Callable[[], Any]]):
        self.actions = actions

    def on_epoch_begin(self, run):
        self.actions.get(run.epoch, lambda: None)()


# ---------------------------------------------------------------------------
# Kills
# ---------------------------------------------------------------------------


def begun(make: Callable[..., Any], path: pathlib.Path) -> int:
    """Start the fit in a process of its own, which writes what it came to beside the checkpoint."""
    pid = os.fork()
    if pid == 0:
        try:
            # kept until its result is stored, as a caller does who wants to lose nothing
            model = make().fit(X, checkpoint=path, checkpoint_seconds=0, keep_checkpoint=True)
            path.with_name("done").write_text(digest(model))
        finally:
            os._exit(0)
    return pid


def killed(pid: int, deadline: float, writing: pathlib.Path | None) -> bool:
    """Kill the process after the deadline, in a writing if there is a path of it; False if it ends before."""
    while time.perf_counter() < deadline or not (writing is None or writing.exists()):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.0002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def kills(task: dict) -> dict[str, Any]:
    """Kill one estimator's fits."""
    make, rng = MODELS[task["model"]], random.Random(task["seed"])
    expected = digest(make().fit(X))
    counts = dict.fromkeys(("kills", "writing", "resumable", "most files", "ends", "equal", "files left"), 0)
    waits = []
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        path, beside, done = (folder / name for name in ("fit.ckpt", "fit.ckpt.tmp", "done"))
        start = time.perf_counter()
        os.waitpid(begun(make, path), 0)
        length = time.perf_counter() - start
        done.unlink()
        path.unlink()
        while counts["kills"] < task["kills"] or path.exists():
            enough = counts["kills"] >= task["kills"]
            held, wait = epochs_in(path) or 0, rng.uniform(0, 0.5 * length)
            deadline = np.inf if enough else time.perf_counter() + wait
            is_killed = killed(begun(make, path), deadline, beside if counts["kills"] % 2 else None)
            if is_killed and not done.exists():
                waits.append(wait)
                counts["kills"] += 1
                counts["writing"] += beside.exists()
                with contextlib.suppress(ValueError):
                    counts["resumable"] += (epochs_in(path) or 0) >= held
                counts["most files"] = max(counts["most files"], len(list(folder.iterdir())))
            else:
                counts["ends"] += 1
                counts["equal"] += done.exists() and done.read_text() == expected
                done.unlink(missing_ok=True)
                path.unlink()
                counts["files left"] += len(list(folder.iterdir()))
    return {**counts, "length": length, "waits": [min(waits), max(waits)]}


# ---------------------------------------------------------------------------
# Files of another fit, and damaged ones
# ---------------------------------------------------------------------------


def refusal(model: Any, path: pathlib.Path, rows: np.ndarray = X, **arguments: Any) -> str:
    """Return the reason that the fit gives for not going on; nothing if it goes on."""
    try:
        model.fit(rows, checkpoint=path, **arguments)
    except ValueError as error:
        return str(error).split("of another fit: ")[-1].removesuffix(". Delete it, or name another.")
    return ""


def others(task: dict) -> dict[str, Any]:
    """Ask for the checkpoint of another version, data set, parameter and so on."""
    make, found = MODELS["SWAE"], {}
    with tempfile.TemporaryDirectory() as place:
        path = pathlib.Path(place) / "fit.ckpt"
        stopped(make(), path, 5)
        before = path.read_bytes()
        for package in (skswae, torch):
            known = package.__version__
            package.__version__ = "9.9.9"
            found[f"another version of {package.__name__}"] = refusal(make(), path)
            package.__version__ = known
        found["another class"] = refusal(MODELS["WAE-GAN"](), path)
        found["a parameter"] = refusal(make(beta=0.75), path)
        found["a parameter of the network"] = refusal(make(network=GatedMLP((33,))), path)
        found["another seed"] = refusal(make(random_state=1), path)
        found["fewer rows"] = refusal(make(), path, X[1:])
        found["one number of the rows"] = refusal(make(), path, X + (np.arange(X.size).reshape(X.shape) == 9))
        same = path.read_bytes() == before
        return {"reasons": found, "same": same, "goes on": refusal(make(), path) == ""}


def stopped(model: Any, path: pathlib.Path, n_epochs: int) -> None:
    """Fit, and stop where an epoch begins, as a kill does."""

    def stop() -> None:
        raise SystemExit

    with contextlib.suppress(SystemExit):
        _fit.fit(model, X, checkpoint=path, checkpoint_seconds=0, callbacks=[AtEpochs({n_epochs: stop})])


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Change bits, cut, drop, insert or repeat a part."""
    new, n = bytearray(content), len(content)
    at, length, kind = rng.randrange(n), rng.randint(1, 200), rng.randrange(5)
    if kind == 0:
        for _ in range(rng.randint(1, 4)):
            new[rng.randrange(n)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del new[at:]
    elif kind == 2:
        del new[at : at + length]
    elif kind == 3:
        new[at:at] = rng.randbytes(length)
    else:
        new[at : at + length] = new[: length // 2]
    return bytes(new)


def damaged(task: dict) -> dict[str, Any]:
    """Read damaged files, and go on from those that are accepted."""
    rng, counts = random.Random(task["seed"]), dict.fromkeys(("tried", "refused", "equal", "lost"), 0)
    make = MODELS["WAE-GAN"]
    expected = digest(make().fit(X))
    with tempfile.TemporaryDirectory() as place:
        path = pathlib.Path(place) / "fit.ckpt"
        stopped(make(), path, 20)
        whole = path.read_bytes()
        for _ in range(task["files"]):
            path.write_bytes(mutated(whole, rng))
            counts["tried"] += 1
            try:
                _checkpoint.read(path)
            except ValueError:
                counts["refused"] += 1
                continue
            counts["equal" if digest(make().fit(X, checkpoint=path)) == expected else "lost"] += 1
    return counts


# ---------------------------------------------------------------------------
# Full disks and read-only folders
# ---------------------------------------------------------------------------


@contextlib.contextmanager
def disk(size: int) -> Iterator[pathlib.Path]:
    """Mount a file system of that many bytes in memory."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True)
        try:
            yield pathlib.Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def places(task: dict) -> dict[str, Any]:
    """Fit where the checkpoint cannot be written, from the start or later."""
    make, made = MODELS["SWAE"], {}
    expected, mib = digest(make().fit(X)), 2**20

    def fill(folder: pathlib.Path) -> None:
        with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(512))

    def mode(folder: pathlib.Path, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)

    breaks = {"full disk": fill, "read-only folder": lambda folder: mode(folder, "ro")}
    mends = {
        "full disk": lambda folder: (folder / "filler").unlink(),
        "read-only folder": lambda folder: mode(folder, "rw"),
    }
    for name in breaks:
        for earlier in (False, True):
            with disk(mib) as folder:
                path, model = folder / "fit.ckpt", make()
                if earlier:
                    stopped(make(), path, 5)
                breaks[name](folder)
                before = path.read_bytes() if earlier else b""
                with warnings.catch_warnings(record=True) as told:
                    warnings.simplefilter("always")
                    try:  # a fit that goes on from a file ends, one that cannot begin one is refused
                        model.fit(X, checkpoint=path, keep_checkpoint=True)
                        text = str(told[0].message)
                    except OSError as error:
                        text = str(error)
                text = text.replace(str(path), "fit.ckpt")
                kept = not earlier or path.read_bytes() == before
                clean = not path.with_name("fit.ckpt.tmp").exists() and hasattr(model, "module_") == earlier
                mends[name](folder)
                ends = digest(model if earlier else model.fit(X, checkpoint=path)) == expected
                what = f"{name} at the start, {'with' if earlier else 'without'} an earlier file"
                made[what] = {"said": text, "kept": kept and clean, "equal": ends}
        for mended in (True, False):
            with disk(mib) as folder, warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                path, model = folder / "fit.ckpt", make()
                trial = Trial(path, breaks[name], mends[name] if mended else None)
                _fit.fit(model, X, checkpoint=path, checkpoint_seconds=0, callbacks=[trial])
                texts = [str(warning.message).replace(str(path), "fit.ckpt") for warning in told]
                made[f"{name} from epoch 10 {'to 20' if mended else 'on'}"] = {
                    "said": f"{len(texts)} warnings, the first: {texts[0]}",
                    "kept": trial.held == [10] * 10,
                    "equal": digest(model) == expected,
                }
                if not mended:
                    mends[name](folder)
    return {"cases": made}


class Trial(Callback):
    """Breaks the disk where the tenth epoch begins, mends it ten later, and reads the file in between."""

    def __init__(self, path: pathlib.Path, breaks: Callable, mends: Callable | None):
        self.path, self.breaks, self.mends = path, breaks, mends
        self.held: list[int | None] = []

    def on_epoch_begin(self, run):
        if run.epoch == 10:
            self.breaks(self.path.parent)
        if 10 < run.epoch <= 20:
            self.held.append(epochs_in(self.path))
        if run.epoch == 20 and self.mends is not None:
            self.mends(self.path.parent)


# ---------------------------------------------------------------------------
# Cost
# ---------------------------------------------------------------------------


def cost(task: dict) -> dict[str, Any]:
    """Time the writing of the state of the default SWAE on 784 columns, brought to the disk and not."""
    torch.set_num_threads(1)
    rows = np.random.default_rng(0).random((500, 784)).astype(np.float32)
    found: dict[str, Any] = {}
    fsync = os.fsync
    with tempfile.TemporaryDirectory(dir=".") as place:
        path = pathlib.Path(place) / "fit.ckpt"
        model = SWAETransformer(max_iter=2, random_state=0, device="cpu")
        model.fit(rows, checkpoint=path, checkpoint_seconds=0, keep_checkpoint=True)
        content = _checkpoint.read(path)
        assert content is not None
        found["mb"] = path.stat().st_size / 1e6
        for name, how in (("on the disk", fsync), ("left to the system", lambda descriptor: None)):
            os.fsync = how
            times = []
            for _ in range(task["repeats"]):
                start, cpu = time.perf_counter(), time.process_time()
                _checkpoint.write(path, content)
                times.append((time.perf_counter() - start, time.process_time() - cpu))
            found[name] = [1e3 * statistics.median(column) for column in zip(*times)]
        os.fsync = fsync
    return found


# ---------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------


def main():
    arguments = parser(__doc__, "resume")
    arguments.add_argument("--kills", type=int, default=50, help="of each estimator")
    arguments.add_argument("--files", type=int, default=2000, help="that are damaged")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments and the damage")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    store, lost = Store(options.resume), 0
    page = Part("Killed fits, full disks, damaged files", options.output)
    page.paragraph(" ".join(__doc__.split("\n\n")[1].split()))
    page.header(
        "estimator | kills | in a writing | a whole file, no epoch lost | fits that came to their end | "
        "equal to the bit | most files at a time | files left at the end"
    )
    for name in MODELS:
        task = {"model": name, "kills": options.kills, "seed": options.seed}
        found = store.get(task, kills, task)
        names = ("kills", "writing", "resumable", "ends", "equal", "most files", "files left")
        page.row(name, *(found[key] for key in names))
        lost += found["kills"] - found["resumable"] + found["ends"] - found["equal"] + found["files left"]
        lost += found["most files"] > 2  # the checkpoint, and one half written beside it
    page.add()
    found = store.get({"part": "others"}, others, {})
    page.section("The checkpoint of another fit")
    page.header("asked for with | refused because")
    for name, reason in found["reasons"].items():
        page.row(name, reason)
        lost += not reason
    lost += not (found["same"] and found["goes on"])
    page.add()
    page.paragraph(
        f"The file was left as it was: {yes(found['same'])}; its own fit goes on: {yes(found['goes on'])}."
    )
    task = {"part": "damaged", "files": options.files, "seed": options.seed}
    found = store.get(task, damaged, task)
    page.section("Damaged files")
    page.paragraph(
        f"Of {found['tried']} files with bits changed, ends cut off, parts dropped, put in or repeated, "
        f"{found['refused']} were refused with a ValueError; {found['equal']} were accepted and ended "
        f"equal to the bit (the damage had changed nothing); lost {found['lost']}."
    )
    lost += found["lost"]
    page.section("Full disks and read-only folders")
    if os.geteuid() == 0:
        page.paragraph("File systems of 1 MiB in memory, filled or mounted read-only.")
        page.header("where | what the fit says | file whole, none half written | ends equal to the bit")
        for name, found in store.get({"part": "places"}, places, {})["cases"].items():
            page.row(name, found["said"], yes(found["kept"]), yes(found["equal"]))
            lost += not (found["said"] and found["kept"] and found["equal"])
        page.add()
    else:
        page.paragraph("Not tried: only root can mount file systems.")
    task = {"part": "cost", "repeats": 15}
    found = store.get(task, cost, task)
    page.section("What a writing costs")
    (safe, safe_cpu), (fast, _) = found["on the disk"], found["left to the system"]
    page.paragraph(
        f"The state of the default SWAE on 784 columns, {found['mb']:.0f} MB: {safe:.0f} ms (median of "
        f"{task['repeats']}; {safe_cpu:.0f} ms of the processor) brought to the disk, {fast:.0f} ms left to "
        f"the system: {safe - fast:.0f} ms more. At one writing a minute that is {safe / 600:.1f} % of it."
    )
    page.paragraph(f"Lost in all: {lost}. Bound: none: {yes(lost == 0)}.")
    page.paragraph(store.note())
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
