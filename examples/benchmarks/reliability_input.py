"""Input of any kind: how many examples keep every contract, and how many are refused by a clear error.

Those of rows are the examples of ``tests/test_any_input.py``, drawn by hypothesis from a fixed seed: a kind
of numbers in a kind of container, given to ``fit`` of a model, or to every method of a model that was fitted
before. Those of parameters are all of ``tests/test_any_parameter.py``: each value for each parameter. Broken
is whatever is neither.
"""

from __future__ import annotations

import collections
import pathlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import hypothesis
from _harness import Part, Store, markdown_table, parser
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import inputs, test_any_parameter

Counts = collections.Counter
PART = 100  # examples, or parameters, in a part of a run that is stored
ALL_VALUES = [*test_any_parameter.VALUES, *test_any_parameter.WRONG]
OUTCOMES = ("kept", "fitted", "refused", "too large", "broken")


def examples(n: int, seed: int, *strategies: st.SearchStrategy) -> Callable:
    """Run a function on n examples; a failure of it is its own affair."""

    def run(function: Callable) -> None:
        given = hypothesis.given(*strategies)(function)
        checks = list(hypothesis.HealthCheck)
        settings = hypothesis.settings(
            max_examples=n, database=None, deadline=None, suppress_health_check=checks
        )
        hypothesis.seed(seed)(settings(given))()

    return run


def part(use: str, n: int, seed: int) -> dict[str, Any]:
    """Count the outcomes of n examples of rows, by what was given and by its kind."""
    counts: Counts = Counts()
    broken = []
    start = time.process_time()
    models = st.integers(0, len(inputs.MODELS) - 1), st.integers(0, len(inputs.SETTINGS) - 1)

    def give_rows(model: int, setting: int, A, kind: tuple[str, str]) -> None:
        numbers, container = kind
        try:
            rows = inputs.NUMBERS[numbers](A)
            dtype = "float32" if container in inputs.SINGLE else "float64"
            X = inputs.make(A, *kind)
            if use == "fit":
                found = inputs.assert_fit(model, setting, X, dtype)
                inputs.assert_fit_as_it_should(found, model, setting, A, kind)
            else:
                found = inputs.assert_use(model, setting, X, *rows.shape, dtype)
                inputs.assert_use_as_it_should(found, model, setting, A, kind)
        except Exception as error:
            found = "broken"
            which = inputs.MODELS[model], inputs.SETTINGS[setting], kind, A.tolist()
            broken.append(f"{use}, {which}: {error}"[:600])
        name = inputs.MODELS[model][0].__name__
        for key in (f"use: {use}", f"model: {name}", f"numbers: {numbers}", f"container: {container}"):
            counts[f"{key}|{found}"] += 1

    widths = (1, 2, 3, 4, 5) if use == "fit" else (4, 2)
    examples(n, seed, *models, inputs.arrays(*widths), inputs.kinds())(give_rows)
    return outcome(counts, broken, start)


def outcome(counts: Counts, broken: list[str], start: float) -> dict[str, Any]:
    for text in broken:
        print(text, file=sys.stderr, flush=True)
    return {"counts": counts, "broken": broken, "seconds": time.process_time() - start}


def set_parameters(first: int) -> dict[str, Any]:
    """Count the outcomes of all values of some parameters, from the first on."""
    counts: Counts = Counts()
    broken = []
    start = time.process_time()
    for case in test_any_parameter.CASES[first : first + PART]:
        for value in ALL_VALUES:
            found, error = test_any_parameter.judged(case, value)
            counts[f"use: parameter|{found}"] += 1
            if found == "broken":
                broken.append(f"{case[0].__name__}, {case[1]}={value!r:.60}, {case[3]}: {error}"[:600])
    return outcome(counts, broken, start)


def main() -> None:
    options = parser(__doc__, "resume")
    options.add_argument("--examples", type=int, default=2000, help="examples of rows")
    arguments = options.parse_args()
    warnings.simplefilter("ignore")
    store, counts, broken, seconds = Store(arguments.resume), Counts(), [], 0.0
    parts: list[dict[str, Any]] = []
    for seed, start in enumerate(range(0, n_all := arguments.examples, 2 * PART)):
        size = min(2 * PART, n_all - start) // 2
        for use in ("fit", "use"):
            parts.append(store.get({"use": use, "n": size, "seed": seed}, part, use, size, seed))
    for first in range(0, len(test_any_parameter.CASES), PART):
        names = [f"{case[0].__name__} {case[1]}" for case in test_any_parameter.CASES[first : first + PART]]
        what = {"use": "parameter", "first": first, "names": names, "values": len(ALL_VALUES)}
        parts.append(store.get(what, set_parameters, first))
    for found in parts:
        counts.update(found["counts"])
        broken += found["broken"]
        seconds += found["seconds"]

    page = Part("Input of any kind", arguments.output)
    page.paragraph(
        "*Rows*, drawn by hypothesis from a fixed seed: a small array, hypothesis' own or "
        f"normal, made one of {len(inputs.NUMBERS)} kinds of numbers in one of {len(inputs.CONTAINERS)} "
        f"kinds of container, of which {len(inputs.HOPELESS)} cannot be learned from. Given to `fit`, "
        "an example is kept if all of this holds: a second fit is equal to the bit; X is unchanged; results "
        "are finite, of the right shape and dtype, the same when asked again, and those of a row do not "
        "depend on the others (only squared errors and densities may overflow, which an error says); samples "
        "are finite and repeat; no warning leaks. It is refused if there is a ValueError or TypeError that "
        "names the argument, the estimator is as it was, and then fits sound rows as a new one does. Given "
        "to a fitted model, every method and `X_val` must take it or refuse it so. Anything else is broken. "
        "*Parameters*: each of the estimators' and of the networks' within them takes each of "
        f"{len(ALL_VALUES)} values, but for numbers of epochs above 1,000. Refused is what has an error that "
        "names this parameter; of rates of learning, also that the training diverged."
    )
    page.paragraph(f"hypothesis {hypothesis.__version__}; {seconds:.0f} s of CPU.")

    page.paragraph(store.note())

    def line(what: str, kind: str, name: str) -> list:
        found = {outcome: counts[f"{what}: {kind}|{outcome}"] for outcome in OUTCOMES}
        kept, refused = found["kept"] + found["fitted"], found["refused"] + found["too large"]
        return [name, sum(found.values()), kept, refused, found["broken"]]

    head = ["", "tried", "kept every contract", "refused clearly", "broken"]
    uses = {
        "fit": "rows given to `fit`",
        "use": "rows given to a fitted model",
        "parameter": "values of parameters",
    }
    for text in markdown_table(head, [line("use", *item) for item in uses.items()]):
        page.add(text)
    for what, kinds in (
        ("model", [Estimator.__name__ for Estimator in inputs.ESTIMATORS]),
        ("numbers", inputs.NUMBERS),
        ("container", inputs.CONTAINERS),
    ):
        for text in markdown_table([what, *head[1:]], [line(what, kind, kind) for kind in kinds]):
            page.add(text)
    for text in broken:
        page.paragraph(f"Broken: {text}")


if __name__ == "__main__":
    main()
