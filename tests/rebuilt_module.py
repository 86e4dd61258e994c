import numpy as np
import torch
from sklearn.datasets import load_digits

from skswae import AETransformer
from skswae.base import NetworkBuilder
from skswae.networks import GatedMLP

X = load_digits().data[:500].astype(np.float32) / 16
ae = AETransformer(n_components=2, network=GatedMLP((16,)), max_iter=2, device="cpu").fit(X)

sizes = {"n_features": 64, "n_inputs": ae.input_components_, "n_components": 2}
build = NetworkBuilder(ae.network, **sizes, out_activation=ae.out_activation_)
module = type(ae.module_)(build, reconstruction=ae.reconstruction).eval()
module.load_state_dict(ae.module_.state_dict())

with torch.no_grad():
    codes = module.encode(torch.from_numpy(X))
    drawn = [m.decode(m.sample_prior(5, torch.Generator().manual_seed(0))) for m in (module, ae.module_)]
assert np.array_equal(codes, ae.transform(X))
assert torch.equal(*drawn)
