import sys
import types

import pytest

from .fidelity import FakeExtractor


@pytest.fixture
def fidelity(monkeypatch):
    """The class of the stand-in, fresh for each test."""
    Extractor = type("Extractor", (FakeExtractor,), {"made": []})
    module = types.ModuleType("torch_fidelity")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)
    return Extractor
