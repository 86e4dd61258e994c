"""What related packages can do, weigh and take to import, by installing and running each.

``python examples/benchmarks/peers.py --output docs/results/peers.md``. Each package gets a fresh virtual
environment, by pip with the pins of ``.ci/constraints.txt``, in a temporary folder or in that of
``--environments``, where it stays for the next run.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap

import _harness as harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = pathlib.Path(__file__).with_name("_peer_probe.py")
PIPELINE = """
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from {module} import {name}
pipe = make_pipeline({call}, KNeighborsClassifier(5)).fit(X_train, y_train)
accuracy = pipe.score(X_test, y_test)
"""
INVERSE = "X_back = pipe[0].inverse_transform(pipe[0].transform(X_test))\n"
SKORCH = """
import torch
from skorch import NeuralNet
from sklearn.base import TransformerMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from torch import nn
class Autoencoder(nn.Module):
    def __init__(self, n_components=2):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, n_components))
        self.decoder = nn.Sequential(nn.Linear(n_components, 100), nn.ReLU(), nn.Linear(100, 64))
    def forward(self, x):
        z = self.encoder(x)
        return torch.sigmoid(self.decoder(z)), z
class Net(TransformerMixin, NeuralNet):
    def fit(self, X, y=None):
        return super().fit(X, X)
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return super().get_loss(y_pred[0], y_true, *args, **kwargs)
    def transform(self, X):
        return self.forward(X)[1].numpy()
    def inverse_transform(self, Z):
        with torch.no_grad():
            return torch.sigmoid(self.module_.decoder(torch.as_tensor(Z))).numpy()
"""
PYTHAE = """
import torch
from pythae.models import VAE, VAEConfig
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from sklearn.neighbors import KNeighborsClassifier
model = VAE(VAEConfig(input_dim=(64,), latent_dim=2))
training = BaseTrainerConfig(
    output_dir="pythae", num_epochs={epochs}, per_device_train_batch_size=64, learning_rate=1e-3
)
TrainingPipeline(model=model, training_config=training)(train_data=X_train{more})
model.eval()
with torch.no_grad():
    Z_train = model.embed(torch.from_numpy(X_train)).numpy()
    Z_test = model.embed(torch.from_numpy(X_test)).numpy()
    X_back = model.reconstruct(torch.from_numpy(X_test)).numpy()
accuracy = KNeighborsClassifier(5).fit(Z_train, y_train).score(Z_test, y_test)
"""
CALLBACK = """
from {module} import {name}
seen = []
class Watch({base}):
    def {method}(self, *args, **kwargs):
        seen.append(1)
{rest}
{run}
assert seen
"""
PEERS = {  # what pip installs, the modules to import, the job, an estimator of a quick fit
    "skswae": {
        "install": [str(ROOT)],
        "import": "skswae",
        "job": PIPELINE.format(module="skswae", name="SWAETransformer", call="SWAETransformer(2)") + INVERSE,
        "setup": "from skswae import SWAETransformer",
        "quick": "SWAETransformer(2, max_iter=2, random_state=0)",
        "parameter": "n_components",
        "callback": CALLBACK.format(
            module="skswae",
            name="SWAETransformer",
            base="",
            method="on_fit_task_end",
            rest="    setup = teardown = on_fit_task_begin = lambda *a, **k: None",
            run="SWAETransformer(2, max_iter=2).set_callbacks(Watch()).fit(X_train[:200])",
        ),
    },
    "umap-learn": {
        "install": ["umap-learn"],
        "import": "umap",
        "job": PIPELINE.format(module="umap", name="UMAP", call="UMAP(n_components=2)") + INVERSE,
        "setup": "from umap import UMAP",
        "quick": "UMAP(n_components=2, n_epochs=20)",
        "parameter": "n_components",
        "section": "UMAP",
    },
    "skorch": {
        "install": ["skorch", "torch"],
        "import": "skorch",
        "job": SKORCH
        + """net = Net(Autoencoder, nn.MSELoss, optimizer=torch.optim.Adam, max_epochs=40, lr=1e-3, verbose=0)
pipe = make_pipeline(net, KNeighborsClassifier(5)).fit(X_train, y_train)
accuracy = pipe.score(X_test, y_test)
"""
        + INVERSE,
        "setup": SKORCH,
        "quick": "Net(Autoencoder, nn.MSELoss, optimizer=torch.optim.Adam, max_epochs=3, verbose=0)",
        "parameter": "module__n_components",
        "callback": SKORCH
        + CALLBACK.format(
            module="skorch.callbacks",
            name="Callback",
            base="Callback",
            method="on_epoch_end",
            rest="",
            run="Net(Autoencoder, nn.MSELoss, max_epochs=2, callbacks=[Watch()]).fit(X_train[:200])",
        ),
        "section": "skorch",
    },
    "pythae": {
        "install": ["pythae"],
        "import": "pythae.models",
        "job": PYTHAE.format(epochs=40, more=""),
        "callback": CALLBACK.format(
            module="pythae.trainers.training_callbacks",
            name="TrainingCallback",
            base="TrainingCallback",
            method="on_epoch_end",
            rest="",
            run=PYTHAE.format(epochs=2, more=", callbacks=[Watch()]"),
        ),
        "section": "pythae",
    },
    "flodr": {
        "install": ["flodr"],
        "import": "flodr",
        "job": PIPELINE.format(module="flodr", name="FloDR", call="FloDR(2, verbose=False)") + INVERSE,
        "setup": "from flodr import FloDR",
        "quick": "FloDR(2, verbose=False, max_iter=50)",
        "parameter": "n_components",
    },
    "cebra": {
        "install": ["cebra"],
        "import": "cebra",
        "job": PIPELINE.format(
            module="cebra",
            name="CEBRA",
            call="CEBRA(output_dimension=2, batch_size=256, max_iterations=1000)",
        ),
        "setup": "from cebra import CEBRA",
        "quick": "CEBRA(output_dimension=2, max_iterations=20, batch_size=64)",
        "parameter": "output_dimension",
    },
    "encdr": {"install": ["encdr"], "import": "encdr"},
}
BASE = ("torch", "scikit-learn")
STAGES = ("job", "features", "callback", "page", "checks")
FEATURES = ("transform", "inverse_transform", "sample", "Pipeline", "GridSearchCV", "pickle")


def run_in(python, task, folder, limit=600):
    """Return the findings of the probe with a task of so many CPU seconds, and why there are no more."""
    path = pathlib.Path(folder) / "task.json"
    path.write_text(json.dumps(task))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONPATH", None)
    command = [str(python), "-P", str(PROBE), str(path)]
    with (pathlib.Path(folder) / "log").open("w+") as log:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)),
        )
        log.seek(0)
        lines = log.read().splitlines()
    found = [json.loads(line[6:]) for line in lines if line.startswith("FOUND ")]
    why = lines[-1] if lines and not found else ""
    if done.returncode == -signal.SIGXCPU:
        why = f"stopped after {limit} CPU s"
    return {one["name"]: one for one in found}, why


def import_seconds(python, modules, repeats):
    """Return the median CPU seconds of a process that imports the modules; the first one is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        subprocess.run(
            [str(python), "-c", f"import {modules}"],
            check=True,
            env=environment,
            cwd=python.parent,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds[1:])


def link_once(source, target):
    """Make a hard link, unless the target is there."""
    if not os.path.exists(target):
        os.link(source, target)


def installed(folder, packages, base=None):
    """Return the Python of an environment with the packages, and pip's reason if there is none.

    The packages of ``base``, another environment's folder, are there first, as hard links: that saves time.
    """
    python, mark = folder / "bin" / "python", folder / "done"
    if mark.exists():
        return python, ""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    if base is not None:
        shutil.copytree(base / "lib", folder / "lib", copy_function=link_once, dirs_exist_ok=True)
    pins = ROOT / ".ci" / "constraints.txt"
    options = ["-q", "--no-compile", "--disable-pip-version-check", "-c", pins]
    done = subprocess.run(
        [python, "-m", "pip", "install", *options, *packages], capture_output=True, text=True
    )
    if done.returncode == 0:
        mark.touch()
        return python, ""
    return python, " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR: "))


def weigh(python, folder):
    """Return the sizes and versions of an environment's packages, without pip and what comes with it."""
    found, why = run_in(python, {"kind": "weight"}, folder, 300)
    if "weight" not in found or not found["weight"]["ok"]:
        raise SystemExit(f"The environment could not be weighed: {why or found}")
    value = found["weight"]["value"]
    left = {name: size for name, size in value["sizes"].items() if name not in ("pip", "setuptools", "wheel")}
    return left, value["versions"]


def weight(name, folder, base, options):
    """Install a package: what it weighs, and how long it takes to import."""
    peer = PEERS[name]
    python, why = installed(folder, peer["install"], None if name == "umap-learn" else folder.parent / "base")
    if why:
        return {"reason": why}
    sizes, versions = weigh(python, folder)
    own = {package: size for package, size in sizes.items() if package not in base}
    return {
        "version": versions[name],
        "n_own": len(own),
        "own_mb": sum(own.values()) / 1e6,
        "torch": "torch" in sizes,
        "all_mb": sum(sizes.values()) / 1e6,
        "import_s": import_seconds(python, peer["import"], options.repeats),
        "lines": sum(bool(line.strip()) for line in peer["job"].splitlines()),
    }


def task_of(stage, peer):
    """Return what the probe is to do at a stage; None where a package has nothing for it."""
    setup = {key: peer[key] for key in ("setup", "quick", "parameter") if key in peer}
    if stage == "job":
        return {"kind": "run", "name": stage, "codes": [peer["job"]]}
    if stage in ("features", "checks"):
        return {"kind": stage, "values": [2, 3], **setup} if setup else None
    if stage == "callback":
        return {"kind": "run", "name": stage, "codes": [peer[stage]]} if stage in peer else None
    if "section" not in peer:
        return None
    text = (ROOT / "docs" / "coming_from.md").read_text()
    section = text.split(f"\n## {peer['section']}\n")[1].split("\n## ")[0]
    codes = re.findall(r"^```py\n(.*?)^```$", section, re.M | re.S)
    return {"kind": "run", "name": "page", "codes": codes}


def measure(stage, name, folder, limit):
    """Return the findings of a stage, and why there are no more."""
    task = task_of(stage, PEERS[name])
    found, why = run_in(folder / "bin" / "python", task, folder, limit)
    return {"found": found, "why": why}


def answer(stage, name):
    """Return a cell: yes, or the error's class, or why there is neither."""
    if stage is None:
        return "nothing to run"
    one = stage["found"].get(name)
    if one is None:
        return f"not known: {stage['why']}"
    return "yes" if one["ok"] else f"no: {one['error'].split(':')[0]}"


def checks_cell(stage):
    """Return how scikit-learn's checks ended."""
    if stage is None:
        return "nothing to run"
    if "checks" not in stage["found"]:
        return f"not known: {stage['why']}"
    counts = stage["found"]["checks"]["value"]
    ended = f", {stage['why']}" if stage["why"] else ""
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{counts['passed']} of {counts['passed'] + counts['failed'] + counts['xfail']}{skipped}{ended}"


def feature_rows(found):
    """Yield the rows of the table of features, with a cell for each package."""
    for name in FEATURES:
        yield [f"`{name}`", *(answer(r.get("features"), name) for r in found.values())]
    yield ["scikit-learn's checks passed", *(checks_cell(r.get("checks")) for r in found.values())]
    yield ["a callback was called", *(answer(r.get("callback"), "callback") for r in found.values())]
    devices = [r["features"]["found"].get("device") if "features" in r else None for r in found.values()]
    cells = [", ".join(d["value"]) or "none" if d else "nothing to run" for d in devices]
    yield ["parameters that name a device", *cells]


def main():
    """Install, run, and write the page."""
    parser = harness.parser(__doc__, "resume")
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--repeats", type=int, default=5, help="imports that are timed")
    parser.add_argument("--limit", type=int, default=300, help="CPU seconds of each task")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument(
        "--environments", type=pathlib.Path, help="folder for the environments; else temporary"
    )
    options = parser.parse_args()
    store = harness.Store(options.resume)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.environments or pathlib.Path(temporary)

        def baseline():
            python, why = installed(folder / "base", BASE)
            if why:
                raise SystemExit(why)
            sizes, _ = weigh(python, folder / "base")
            seconds = import_seconds(python, "torch, sklearn", options.repeats)
            return {"sizes": sizes, "import_s": seconds}

        base = store.get({"peer": "baseline", "repeats": options.repeats}, baseline)
        found = {}
        for name in options.only:
            settings = {"peer": name, "stage": "weight", "repeats": options.repeats}
            found[name] = dict(store.get(settings, weight, name, folder / name, base["sizes"], options))
        for stage in options.stages:
            for name, results in found.items():
                if "reason" not in results and task_of(stage, PEERS[name]):
                    settings = {"peer": name, "stage": stage, "limit": options.limit}
                    arguments = (stage, name, folder / name, options.limit)
                    results[stage] = store.get(settings, measure, *arguments)
    write(options.output, base, found, store)


def write(output, base, found, store):
    """Write the page."""
    page = harness.Page("Related packages", output)
    page.paragraph(store.note())
    page.paragraph(
        "Each package was installed by pip into a virtual environment of its own, beside torch and "
        "scikit-learn (UMAP beside nothing), and run on the digits that ship "
        "with scikit-learn, on one thread. Where nothing ran, the reason is given: nothing here is guessed."
    )
    there = {name: results for name, results in found.items() if "reason" not in results}
    page.section(
        "Features",
        "yes: it ran. no: with the class of the error. nothing to run: no such class or parameter. "
        "Quick fits of 300 rows. Of skorch, an autoencoder is written first (below). The checks are "
        "those of `check_estimator`: passed, of those that were run.",
    )
    for line in harness.markdown_table(
        ["", *(f"{name} {results['version']}" for name, results in there.items())], feature_rows(there)
    ):
        page.add(line)
    torch_mb = sum(size for package, size in base["sizes"].items()) / 1e6
    page.section(
        "Weight",
        f"torch (the CPU build) and scikit-learn with all that they need are {len(base['sizes'])} packages "
        f"of {torch_mb:.0f} MB, and a process that imports both takes {base['import_s']:.2f} CPU s. Further "
        "packages: the package itself and what it needs beside those.",
    )
    page.header("package | further packages | their MB | needs torch | all MB | import, CPU s")
    for name, r in there.items():
        torch = "yes" if r["torch"] else "no"
        page.row(name, r["n_own"], f"{r['own_mb']:.0f}", torch, f"{r['all_mb']:.0f}", f"{r['import_s']:.2f}")
    page.add()
    page.section(
        "The same job",
        "Codes of two components for a 5-nearest-neighbour classifier, and, where there is an inverse, rows "
        "out of them. Lines are those of the code below. It was run, not tuned: accuracies are not compared.",
    )
    page.header("package | lines | it ran")
    for name, r in there.items():
        one = r["job"]["found"].get("job", {"ok": False, "error": r["job"]["why"]})
        page.row(name, r["lines"], "yes" if one["ok"] else one["error"])
    page.add()
    for name in there:
        page.paragraph(f"{name}:")
        page.paragraph(f"```text\n{textwrap.dedent(PEERS[name]['job']).strip()}\n```")
    page.section("Code of the page Coming from PCA, UMAP, pythae or skorch")
    for name, r in there.items():
        if "page" in r:
            one = r["page"]["found"].get("page", {"ok": False, "error": r["page"]["why"]})
            page.add(f"- {name} {r['version']}: {'it runs' if one['ok'] else one['error']}")
    page.add()
    reasons = {name: results["reason"] for name, results in found.items() if "reason" in results}
    if reasons:
        page.section("What could not be installed")
        for name, reason in reasons.items():
            page.add(f"- {name}: {harness.escaped(reason)}")


if __name__ == "__main__":
    main()
