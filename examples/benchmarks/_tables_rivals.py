"""Other packages' synthetic rows and imputations, in environments without skswae.

``python _tables_rivals.py`` reads tasks of JSON from its input, a line each, and answers each with a line.
Rows come and go as parquet files.

    {"part": "synthetic", "method": "tvae", "seed": 0, "train": FILE, "output": FILE}
    {"part": "impute", "method": "hyperimpute", "seed": 0, "train": FILE, "test": FILE, "output": FILE}
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

PACKAGES = {"ctgan": "ctgan", "tvae": "ctgan", "hyperimpute": "hyperimpute"}


def is_category(column: pd.Series) -> bool:
    """Tell categories and booleans from numbers."""
    return bool(pd.api.types.is_bool_dtype(column.dtype)) or column.dtype == "category"


def without_holes(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return rows as ctgan takes them, and the names of the discrete columns.

    Numbers have no holes: the mean stands there, and a discrete column tells of it. A missing category is a
    level.
    """
    found, discrete = {}, []
    for name in frame:
        column = frame[name]
        if is_category(column):
            found[name] = column.astype(object).where(column.notna(), "(missing)").astype(str)
            discrete.append(name)
        else:
            found[name] = column.astype(float).fillna(column.mean())
            if column.isna().any():
                found[f"{name} (missing)"] = column.isna().map({True: "yes", False: "no"})
                discrete.append(f"{name} (missing)")
    return pd.DataFrame(found), discrete


def with_holes(rows: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return rows of :func:`without_holes` with the columns and dtypes of a frame."""
    found = {}
    for name in like:
        column = rows[name]
        if is_category(like[name]):
            if like[name].dtype == bool:
                found[name] = column == "True"
            else:
                known = like[name].cat.categories
                found[name] = pd.Series(pd.Categorical(column.where(column.isin(known)), categories=known))
        else:
            numbers = column.astype(float)
            if pd.api.types.is_integer_dtype(like[name]):
                found[name] = numbers.round().astype(like[name].dtype)
            elif like[name].isna().any():
                found[name] = numbers.where(rows[f"{name} (missing)"] == "no")
            else:
                found[name] = numbers
    return pd.DataFrame(found)


def synthetic(task: dict[str, Any]) -> pd.DataFrame:
    """Return as many rows of ctgan's models, with their defaults, as they were trained on."""
    from ctgan import CTGAN, TVAE

    train = pd.read_parquet(task["train"])
    rows, discrete = without_holes(train)
    model = {"ctgan": CTGAN, "tvae": TVAE}[task["method"]](enable_gpu=False)
    model.set_random_state(task["seed"])
    model.fit(rows, discrete)
    return with_holes(model.sample(len(rows)), train)


def impute(task: dict[str, Any]) -> pd.DataFrame:
    """Return the held-out rows filled by hyperimpute."""
    from hyperimpute.plugins.imputers import Imputers

    train, test = pd.read_parquet(task["train"]), pd.read_parquet(task["test"])
    coded, levels = [], {}
    for part in (train, test):
        codes = {}
        for name in part:
            if is_category(train[name]):
                levels[name] = pd.Categorical(train[name]).categories
                found = pd.Categorical(part[name], categories=levels[name]).codes.astype(float)
                codes[name] = np.where(found < 0, np.nan, found)
            else:
                codes[name] = part[name].astype(float).to_numpy()
        coded.append(pd.DataFrame(codes).rename(columns=lambda name: f"c{list(train).index(name)}"))
    # a column with more levels than class_threshold, 5 by default, would be a number
    most = max([5, *map(len, levels.values())])
    model = Imputers().get("hyperimpute", random_state=task["seed"], class_threshold=most)
    model.fit(coded[0])
    filled = model.transform(coded[1].copy())
    found = {}
    for number, name in enumerate(train):
        column = filled.iloc[:, number].to_numpy(dtype=float)
        if name in levels:
            codes = np.clip(np.rint(column), 0, len(levels[name]) - 1).astype(int)
            found[name] = pd.Series(pd.Categorical.from_codes(codes, levels[name])).astype(train[name].dtype)
        else:
            found[name] = column
    return pd.DataFrame(found)


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Do a task; the rows lie in a file, and the answer tells of the seconds."""
    import torch

    torch.set_num_threads(task.get("threads", 1))
    random.seed(task["seed"])
    np.random.seed(task["seed"])  # noqa: NPY002 - other packages draw from it
    torch.manual_seed(task["seed"])
    start = time.process_time()
    rows = {"synthetic": synthetic, "impute": impute}[task["part"]](task)
    seconds = time.process_time() - start
    rows.to_parquet(task["output"])
    package = PACKAGES[task["method"]]
    return {"cpu": seconds, "package": f"{package} {importlib.metadata.version(package)}"}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
