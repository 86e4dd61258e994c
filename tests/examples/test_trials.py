"""examples/benchmarks/trials.py: cheaper losses keep their expectation, and a run on a few digits."""

import json
from dataclasses import replace

import _data
import pytest
import torch
import trials

X = torch.from_numpy(_data.digits(0).head(100, 10).X)


def model(**changes):
    torch.manual_seed(0)
    found = trials.Model(X, trials.Settings(**changes), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in found.parameters():  # the networks start at 0
            p += 0.05 * torch.randn(p.shape)
    return found


@pytest.mark.parametrize("changes", [{"n_decodings": 1}, {"share_of_features": 0.25}], ids=str)
@torch.no_grad()
def test_a_part_of_the_reconstruction_is_all_of_it_on_average(changes):
    one, x = model(), X[:10]
    z_d, z_e = torch.randn(2, 10, trials.K_CODE)
    expected = one.reconstruction(x, z_d, z_e)
    one.settings = replace(one.settings, **changes)
    draws = torch.stack([one.reconstruction(x, z_d, z_e) for _ in range(200)])
    assert draws.std() > 0
    assert abs(draws.mean() - expected) < 4 * draws.std() / len(draws) ** 0.5


def test_a_prior_asked_once_a_cell_has_the_same_loss_and_gradient():
    found = []
    for once in (False, True):
        one = model(prior_per_cell=once)
        loss = one.loss(X, warming=False)
        loss.backward()
        found.append([loss.detach(), one.pseudo_inputs.grad, one.prior[0].linear.weight.grad])
    for rows, cells in zip(*found):
        torch.testing.assert_close(rows, cells, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"whitening": 1.0}, {"front": None}, {"last_rank": 20}], ids=str)
@torch.no_grad()
def test_every_model_starts_at_the_code_of_pca(settings):
    start = trials.Model(X, trials.Settings(**settings), torch.Generator().manual_seed(0))
    z = start.encode(start.front(X))
    _, _, directions = torch.linalg.svd(X - X.mean(0), full_matrices=False)
    expected = (X - X.mean(0)) @ directions[: trials.K_CODE].T
    expected /= expected.var(0).mean().sqrt()
    torch.testing.assert_close(z.abs(), expected.abs(), rtol=1e-3, atol=1e-3)


def test_muon_s_step_has_singular_values_of_about_one():
    gradient = torch.randn(20, 10, generator=torch.Generator().manual_seed(0))
    for matrix in (gradient, gradient.T):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        found = left.T @ trials.orthogonal(matrix, 5) @ right.T  # of the same singular vectors
        assert torch.linalg.diagonal(found).sub(1).abs().max() < 0.4 < values.max() - values.min()
        assert found.fill_diagonal_(0).abs().max() < 1e-4


def test_a_page_of_few_rows_and_of_what_is_finished(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # which the script sets
    kept, output = tmp_path / "kept.json", tmp_path / "page.md"

    def page(*arguments):
        names = ["trials.py", "--data-sets", "digits", "--rows", "100", "--resume", str(kept), *arguments]
        monkeypatch.setattr("sys.argv", [*names, "--output", str(output)])
        trials.main()
        return [line for line in output.read_text().splitlines() if line.startswith("| ")][2:]

    (row,) = page("--only", "muon", "--seeds", "3")
    assert len(json.loads(kept.read_text())) == 1
    assert row.startswith("| Muon on the hidden matrices | ")
    rows = page("--finished", "--seeds", "3")
    assert row in rows
    assert len(rows) == len(trials.TRIALS) + 1  # the base of three seeds
    assert sum("not measured" in line for line in rows) == len(rows) - 1
    assert len(json.loads(kept.read_text())) == 1
