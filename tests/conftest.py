"""One torch thread for every test, and scikit-learn's small data sets."""

import importlib.util
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

torch.set_num_threads(1)

# what older versions of scikit-learn lack, which has callbacks from version 1.9 on
_NEEDED = {
    "test_sklearn_callbacks.py": "sklearn.callback",
    "test_array_api.py": "sklearn.externals.array_api_compat",
}
collect_ignore = [file for file, module in _NEEDED.items() if importlib.util.find_spec(module) is None]

# examples of each test by property; `pytest --hypothesis-profile nightly` takes the second
_every_time = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("ci", max_examples=50, derandomize=True, database=None, **_every_time)
hypothesis.settings.register_profile("nightly", max_examples=1000, print_blob=True, **_every_time)
hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def digits():
    """300 digits in [0, 1], and their labels."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    X.flags.writeable = False
    return X, y


@pytest.fixture(scope="session")
def iris():
    X = load_iris().data
    X.flags.writeable = False
    return X


@pytest.fixture
def rng():
    return np.random.default_rng(0)
