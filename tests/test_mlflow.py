"""MLflow's recipe, and losses in MLflow and TensorBoard, for ``.ci/mlflow``, whose environment has both."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

GUIDE = pathlib.Path(__file__).parent.parent / "docs" / "guide"


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (GUIDE / page).read_text(), re.M | re.S)


def run(script, folder):
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.mlflow
def test_the_recipe_runs_and_writes_no_pickle(tmp_path):
    model, *script = blocks("mlflow.md")
    (tmp_path / "swae_codes.py").write_text(model)
    run("".join(script), tmp_path)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"swae.safetensors", "model.skops"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib"))]


IMPORTS = {"MLflow": "import mlflow\n", "TensorBoard": "import torch.utils.tensorboard\n"}
READ = {  # the losses of "reconstruction_loss" by epoch, as the other tool has them
    "MLflow": """
client = mlflow.MlflowClient()
found = client.get_metric_history(mlflow.last_active_run().info.run_id, "reconstruction_loss")
found = {metric.step: metric.value for metric in found}
""",
    "TensorBoard": """
writer.close()
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(writer.log_dir)
found.Reload()
found = {event.step: event.value for event in found.Scalars("reconstruction_loss")}
""",
}


@pytest.mark.mlflow
@pytest.mark.parametrize("tool", IMPORTS)
def test_losses_are_logged_in_the_guide_s_lines(tool, tmp_path):
    """The class of the guide, with what its table has for the tool in place of its last two lines."""
    page = (GUIDE / "callbacks.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {tool} | "))
    line, *before = re.findall(r"`([^`]+)`", row)
    if "for each of them" in row:
        line = f"for name, loss in losses.items(): {line}"
    class_, fit = blocks("callbacks.md")[0].split("\n\n\nX, y = ")
    head, with_open, print_ = class_.rsplit("\n", 2)
    assert "with open(" in with_open
    assert "print(json" in print_
    indent = " " * (len(with_open) - len(with_open.lstrip()))
    fit = fit.replace("SWAETransformer(", "model = SWAETransformer(")
    show = "import json; print(json.dumps([found, list(map(float, model.history_['reconstruction_loss']))]))"
    script = [IMPORTS[tool], *before, f"{head}\n{indent}{line}", f"X, y = {fit}", READ[tool], show]
    found, losses = json.loads(run("\n".join(script), tmp_path).splitlines()[-1])
    expected = dict(enumerate(losses, 1))
    assert {int(step): value for step, value in found.items()} == pytest.approx(expected, rel=1e-6)
