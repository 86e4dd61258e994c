"""Pseudo-inputs: their range, selection and state."""

import numpy as np
import torch
from sklearn.datasets import load_iris

from skswae import MIMTransformer, SWAETransformer, VampPriorTransformer
from skswae.modules._pseudo_inputs import PseudoInputs, blends
from skswae.networks import GatedMLP


def started(rows):
    inputs = PseudoInputs(*rows.shape)
    inputs.initialize(rows)
    return inputs


def test_range():
    """It is that of the rows they start as, widened by others, never narrowed; a projection leads into it."""
    inputs = started(torch.tensor([[0.0, 5.0], [2.0, 3.0], [1.0, 4.0]]))
    assert (inputs.lowest.tolist(), inputs.highest.tolist()) == ([0.0, 3.0], [2.0, 5.0])
    with torch.no_grad():
        inputs.rows[0] += torch.tensor([10.0, -10.0])
    inputs.project()
    assert inputs.rows.tolist() == [[2.0, 3.0], [2.0, 3.0], [1.0, 4.0]]
    inputs.widen([torch.tensor([[-1.0, 4.0], [0.5, 3.5]]), torch.tensor([[1.0, 7.0]])])
    assert (inputs.lowest.tolist(), inputs.highest.tolist()) == ([-1.0, 3.0], [2.0, 7.0])
    inputs.project()
    assert inputs.rows.tolist() == [[2.0, 3.0], [2.0, 3.0], [1.0, 4.0]]  # inside stays


def test_nothing_is_shared_with_the_rows_they_start_as():
    """The range of one pseudo-input is itself: it must not move along."""
    rows = torch.tensor([[1.0, 2.0]])
    inputs = started(rows)
    with torch.no_grad():
        inputs.rows += 3.0
    inputs.project()
    assert rows.tolist() == inputs.rows.tolist() == [[1.0, 2.0]]


def test_selected_rows_and_their_gradient():
    generator = torch.Generator().manual_seed(0)
    inputs = started(torch.randn(5, 3, generator=generator))
    index, weight = torch.tensor([4, 0, 4, 1]), torch.randn(4, 3, generator=generator)
    assert torch.equal(inputs.select(index), inputs.rows[index])
    (inputs.select(index) * weight).sum().backward()
    torch.testing.assert_close(inputs.rows.grad, torch.zeros(5, 3).index_add_(0, index, weight))


def test_state_round_trip():
    inputs, loaded = started(torch.tensor([[1.0, -2.0], [3.0, 0.0]])), PseudoInputs(2, 2)
    inputs.widen([torch.full((1, 2), 9.0)])
    loaded.load_state_dict(inputs.state_dict(), strict=True)
    state = {name: value.tolist() for name, value in loaded.state_dict().items()}
    assert state == {"rows": [[1.0, -2.0], [3.0, 0.0]], "lowest": [1.0, -2.0], "highest": [9.0, 9.0]}
    assert [name for name, _ in loaded.named_parameters()] == ["rows"]


def test_blends_are_means_of_three_that_differ():
    pool = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.3, 0.0], [0.0, 0.6], [9.0, 9.0]])
    found = blends(pool, pool)
    torch.testing.assert_close(found[0], torch.tensor([0.1, 0.2]))  # not with its equal
    torch.testing.assert_close(found[4], (pool[4] + pool[2] + pool[3]) / 3.0)
    assert torch.cdist(found, pool).min() > 0.05
    alone = torch.ones(3, 2)
    assert torch.equal(blends(alone, alone), alone)  # no row to blend with
    torch.testing.assert_close(blends(pool[:1], pool[1:3]), torch.tensor([[0.15, 0.0]]))  # one


def test_no_pseudo_input_starts_as_a_row():
    """Nor stays one: also those of later calls, and those that no row is closest to."""
    iris = load_iris().data
    for kind in (SWAETransformer, VampPriorTransformer, MIMTransformer):
        settings = {
            "network": GatedMLP((8,)),
            "learning_rate_init": 1e-9,
            "random_state": 0,
            "n_pseudo_inputs": 20,
        }
        for init, copies in (("rows", True), ("blends", False)):
            model = kind(2, pseudo_input_init=init, **settings).partial_fit(iris[:10]).partial_fit(iris)
            nearest = np.linalg.norm(model.pseudo_inputs_[:, None] - iris, axis=2).min(axis=1)
            assert (nearest.min() < 1e-4) == copies, (kind, init)
            assert len(nearest) == 20
