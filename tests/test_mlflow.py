"""The recipe for MLflow, which ``.ci/mlflow`` runs in an environment that has MLflow."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "guide" / "mlflow.md"


@pytest.mark.mlflow
def test_the_recipe_runs_and_writes_no_pickle(tmp_path):
    model, *script = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    (tmp_path / "swae_codes.py").write_text(model)
    (tmp_path / "recipe.py").write_text("".join(script))
    done = subprocess.run(
        [sys.executable, "recipe.py"],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"swae.safetensors", "model.skops"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".joblib"))]
