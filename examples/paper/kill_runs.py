"""Kill the runner with SIGKILL at random moments, start it again, and compare with an undisturbed run.

    python examples/paper/kill_runs.py --output docs/results/paper_kills.md

Every figure that a run stores is compared, to the bit, but for times and dates; and so are the fitted models.
"""

from __future__ import annotations

import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

import joblib
import numpy as np
import torch
from _shared import Page, parser

TIMES = ("cpu_seconds", "seconds", "resumed", "date")


def results(folder: pathlib.Path) -> dict[str, Any]:
    """Return all runs, without what may differ between two times, and each model's codes of some rows."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "smoke" / "runs").glob("*.json")):
        record = json.loads(path.read_text())
        record.pop("measuring_seconds", None)
        for name in TIMES:
            record.get("fit", {}).pop(name, None)
        found[path.name] = record
    for path in sorted((folder / "smoke" / "models").glob("*_*_*.joblib")):
        model = joblib.load(path)[0]
        rows = np.random.default_rng(0).random((10, model.n_features_in_))
        found[path.name] = joblib.hash(model.transform(rows))
    return found


def main() -> None:
    """Print, and write, what came of it."""
    arguments = parser(__doc__)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    command = [sys.executable, str(pathlib.Path(__file__).with_name("run.py"))]
    command += ["--preset", "smoke", "--threads", "1", "--checkpoint-seconds", "0"]
    rng = random.Random(options.seed)
    moments: list[float] = []
    n_models_cut = n_equal = n_rounds = n_left = 0
    with tempfile.TemporaryDirectory() as place:
        base = pathlib.Path(place)

        def start(folder: pathlib.Path) -> subprocess.Popen:
            return subprocess.Popen([*command, "--results", str(folder)], stdout=subprocess.DEVNULL)

        begun = time.perf_counter()
        assert start(base / "whole").wait() == 0
        length = time.perf_counter() - begun
        whole = results(base / "whole")
        while len(moments) < options.kills:
            folder = base / f"round{n_rounds}"
            n_rounds += 1
            while True:
                process, started = start(folder), time.time()
                wait = rng.uniform(0.0, 0.6 * length)
                try:
                    # the last round is let go on once there have been enough kills
                    process.wait(wait if len(moments) < options.kills else None)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    moments.append(wait)
                    cut = [p for p in folder.glob("smoke/state/*.ckpt") if p.stat().st_mtime > started]
                    n_models_cut += bool(cut)
                    continue
                assert process.returncode == 0
                break
            n_equal += results(folder) == whole
            n_left += len([*folder.rglob("*.tmp"), *folder.rglob("*.ckpt")])
            print(f"round {n_rounds}: {len(moments)} kills so far, {n_equal} equal", flush=True)
    n_runs = len([name for name in whole if name.endswith(".json")])
    page = Page("Killed and started again", options.output)
    page.paragraph(
        f'The preset "smoke" ({n_runs} runs, {length:.0f} s undisturbed) was killed by SIGKILL '
        f"{len(moments)} times, after {min(moments):.1f} to {max(moments):.1f} s, and started again each "
        f"time; {n_models_cut} of the kills left a checkpoint of a fit under way. Each time that it came to "
        f"its end, it began anew in another folder: {n_rounds} times in all."
    )
    page.paragraph(
        f"In {n_equal} of {n_rounds} the results were the undisturbed run's: all measures of all runs equal "
        f"to the bit, and so are codes of the fitted models. {n_left} checkpoints or half-written files were "
        "left."
    )
    if n_equal < n_rounds or n_left:
        sys.exit("The results differ, or something was left.")


if __name__ == "__main__":
    main()
