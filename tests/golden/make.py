"""Make the golden files of the present format: ``python tests/golden/make.py`` from the repository's root.

Run it when ``skswae.persistence.FORMAT_VERSION`` rises, and keep the files of earlier formats: they stay
readable for ever.
"""

import json
import pathlib

import torch
from sklearn.datasets import load_iris

import skswae
from skswae.networks import DCGANNet, GatedConvNet, GatedMLP
from skswae.persistence import FORMAT_VERSION

HERE = pathlib.Path(__file__).parent
X = load_iris().data[::5]
IMAGES = X[:, [0] * 16 + [1] * 16 + [2] * 16 + [3] * 16]
common = {"network": GatedMLP((3,)), "max_iter": 2, "random_state": 0, "device": "cpu"}

MODELS = {
    "ae": (skswae.AETransformer(2, **common), X),
    "mim": (skswae.MIMTransformer(2, sampling="symmetric", n_pseudo_inputs=3, **common), X),
    "swae": (skswae.SWAETransformer(2, n_pseudo_inputs=3, **common), X),
    "vae": (skswae.VAETransformer(2, **common), X),
    "vampprior": (skswae.VampPriorTransformer(2, n_pseudo_inputs=3, **common), X),
    "wae_gan": (skswae.WAETransformer(2, divergence="gan", critic_layer_sizes=(3,), **common), X),
    "wae_mmd": (skswae.WAETransformer(2, **common), X),
    "gated_conv_net": (
        skswae.AETransformer(
            2,
            **{
                **common,
                "network": GatedConvNet(
                    (1, 8, 8), encoder_filters=(1, 1, 1, 1, 1), decoder_filters=(1,), hidden_size=2
                ),
            },
        ),
        IMAGES,
    ),
    "dcgan_net": (
        skswae.AETransformer(2, **{**common, "network": DCGANNet((1, 8, 8), filters=(1, 2))}),
        IMAGES,
    ),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    expected = {}
    for name, (estimator, rows) in MODELS.items():
        estimator.fit(rows)
        skswae.save_model(estimator, HERE / f"{name}_{FORMAT_VERSION}.safetensors")
        rows = rows[:3]
        expected[name] = {
            "rows": rows.tolist(),
            "codes": estimator.transform(rows).tolist(),
            "reconstructions": estimator.reconstruct(rows).tolist(),
        }
        if not isinstance(estimator, skswae.AETransformer):  # whose samples take a sign from LAPACK
            expected[name]["samples"] = estimator.sample(3, random_state=0).tolist()
    (HERE / f"expected_{FORMAT_VERSION}.json").write_text(json.dumps(expected) + "\n")
