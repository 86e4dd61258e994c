import sys
import types

import pytest
import torch


class FakeExtractor(torch.nn.Module):
    """Takes and gives what torch-fidelity's FeatureExtractorInceptionV3 does: pixels are the features."""

    error = None

    def __init__(self, name, features_list, feature_extractor_weights_path=None, **kwargs):
        super().__init__()
        assert isinstance(name, str)
        assert features_list == ["2048"]
        self.path, self.batches = feature_extractor_weights_path, []
        self.made.append(self)
        torch.rand(3)  # as layers do that draw their weights
        if self.error is not None:
            raise self.error

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert x.shape[1:2] == (3,)
        self.batches.append(x.clone())
        features = torch.zeros(len(x), 2048)
        features[:, : x[0].numel()] = x.flatten(1).float()
        return (features,)


@pytest.fixture
def fidelity(monkeypatch):
    """The class of a stand-in for torch-fidelity, whose weights tests cannot have; fresh for each test."""
    Extractor = type("Extractor", (FakeExtractor,), {"made": []})
    module = types.ModuleType("torch_fidelity")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)
    return Extractor
