"""Pseudo-inputs: their range, selection and state."""

import torch

from skswae.modules._pseudo_inputs import PseudoInputs


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
