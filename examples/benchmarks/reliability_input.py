"""Input of any kind: how many examples keep every contract, and how many are refused by a clear error.

The examples are those of ``tests/test_any_input.py`` and ``tests/test_any_parameter.py``, drawn by hypothesis
from a fixed seed: a kind of numbers in a kind of container, given to ``fit`` of a model, or to every method
of a model that was fitted before; and a value for a parameter. Broken is whatever is neither.
"""

from __future__ import annotations

import collections
import pathlib
import sys
import time
import warnings
from collections.abc import Callable

import hypothesis
from _harness import Part, markdown_table, parser
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests import inputs, test_any_parameter

Counts = collections.Counter


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


def what_becomes_of_rows(n: int, broken: list[str]) -> dict[tuple[str, str], Counts]:
    """Count the outcomes by use, and by kind of numbers and container."""
    counts: dict[tuple[str, str], Counts] = collections.defaultdict(Counts)
    models = st.integers(0, len(inputs.MODELS) - 1), st.integers(0, len(inputs.SETTINGS) - 1)

    def count(use: str, model: int, setting: int, A, kind: tuple[str, str]) -> None:
        numbers, container = kind
        try:
            rows = inputs.NUMBERS[numbers](A)
            dtype = "float32" if container in inputs.SINGLE else "float64"
            X = inputs.make(A, *kind)
            if use == "fit":
                found = inputs.assert_fit(model, setting, X, dtype)
            else:
                found = inputs.assert_use(model, setting, X, *rows.shape, dtype)
            assert found == "refused" or container not in inputs.HOPELESS, "taken for rows"
        except Exception as error:
            found = "broken"
            broken.append(f"{use}, {inputs.MODELS[model]}, {inputs.SETTINGS[setting]}, {kind}: {error}"[:400])
            print(broken[-1], A.tolist(), file=sys.stderr, flush=True)
        Estimator = inputs.MODELS[model][0].__name__
        keys = ("use", use), ("model", Estimator), ("numbers", numbers), ("container", container)
        for key in keys:
            counts[key][found] += 1

    for use, widths, m in (("fit", (1, 2, 3, 4, 5), n - n // 2), ("use", (4, 2), n // 2)):
        run = examples(m, 0, st.just(use), *models, inputs.arrays(*widths), inputs.kinds())
        run(count)
    return counts


def what_becomes_of_parameters(n: int, broken: list[str]) -> Counts:
    """Count the outcomes."""
    counts: Counts = Counts()
    values = st.sampled_from([*test_any_parameter.VALUES, *test_any_parameter.WRONG])

    def one(case, value):
        verdict, error = test_any_parameter.judged(case, value)
        counts[verdict] += 1
        if verdict == "broken":
            broken.append(f"{case[0].__name__}, {case[1]}={value!r:.60}, {case[3]}: {error}"[:400])
            print(broken[-1], file=sys.stderr, flush=True)

    examples(n, 0, st.sampled_from(test_any_parameter.CASES), values)(one)
    return counts


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--examples", type=int, default=2000, help="examples of rows, and of parameters")
    arguments = options.parse_args()
    warnings.simplefilter("ignore")
    n, broken = arguments.examples, []
    start = time.process_time()
    rows = what_becomes_of_rows(n, broken)
    parameters = what_becomes_of_parameters(n, broken)
    seconds = time.process_time() - start

    page = Part("Input of any kind", arguments.output)
    page.paragraph(
        "Examples are drawn by hypothesis from a fixed seed. *Rows*: a small array, hypothesis' own or "
        f"normal, made one of {len(inputs.NUMBERS)} kinds of numbers in one of {len(inputs.CONTAINERS)} kinds "
        f"of container, of which {len(inputs.HOPELESS)} hold what can never be learned from. Given to `fit`, "
        "an example is kept if all of this holds: a second fit is equal to the bit; X is unchanged; results "
        "are finite, of the right shape and dtype, the same when asked again, and those of a row do not "
        "depend on the others (only squared errors and densities may overflow, which an error says); samples "
        "are finite and repeat; no warning leaks. It is refused if there is a ValueError or TypeError that "
        "names the argument, the estimator is as it was, and then fits sound rows as a new one does. Given to "
        "a fitted model, every method and `X_val` must take it or refuse it so. Anything else is broken. "
        "*Parameters*: one of all parameters of the estimators and of the networks within them takes one of "
        f"{len(test_any_parameter.VALUES) + len(test_any_parameter.WRONG)} values."
    )
    page.paragraph(f"hypothesis {hypothesis.__version__}; {seconds:.0f} s of CPU.")

    def line(name: str, found: Counts) -> list:
        kept = found["kept"] + found["fitted"]
        refused = found["refused"] + found["too large"]
        return [name, sum(found.values()) - found["too long to try"], kept, refused, found["broken"]]

    def of(what: str) -> list[tuple[str, Counts]]:
        return [(name, found) for (group, name), found in rows.items() if group == what]

    head = ["", "tried", "kept every contract", "refused clearly", "broken"]
    uses = {"fit": "rows given to `fit`", "use": "rows given to a fitted model"}
    table = [line(uses[name], found) for name, found in of("use")]
    table.append(line("values of parameters", parameters))
    for text in markdown_table(head, table):
        page.add(text)
    by_model = dict(of("model"))
    for what, found in (
        ("model", [(E.__name__, by_model.get(E.__name__, Counts())) for E in inputs.ESTIMATORS]),
        ("numbers", sorted(of("numbers"), key=lambda item: list(inputs.NUMBERS).index(item[0]))),
        ("container", sorted(of("container"), key=lambda item: list(inputs.CONTAINERS).index(item[0]))),
    ):
        for text in markdown_table([what, *head[1:]], [line(*item) for item in found]):
            page.add(text)
    for text in broken:
        page.paragraph(f"Broken: {text}")


if __name__ == "__main__":
    main()
