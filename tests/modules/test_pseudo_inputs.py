"""Pseudo-inputs: their range, selection and state."""

import torch

from skswae.modules._pseudo_inputs import PseudoInputs


def started(rows):
    rows = torch.as_tensor(rows)
    inputs = PseudoInputs(*rows.shape)
    inputs.initialize(rows)
    return inputs


def test_range():
    """It is that of the rows they start as, widened by others, never narrowed; a projection leads into it."""
    inputs = started([[0.0, 5.0], [2.0, 3.0], [1.0, 4.0]])
    assert inputs.rows.requires_grad
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
    assert rows.tolist() == [[1.0, 2.0]]
    assert inputs.lowest.tolist() == inputs.highest.tolist() == [1.0, 2.0]
    inputs.project()
    assert inputs.rows.tolist() == [[1.0, 2.0]]


def test_selected_rows_and_their_gradient():
    generator = torch.Generator().manual_seed(0)
    inputs = started(torch.randn(5, 3, generator=generator))
    index, weight = torch.tensor([4, 0, 4, 1]), torch.randn(4, 3, generator=generator)
    assert torch.equal(inputs.select(index), inputs.rows[index])
    (inputs.select(index) * weight).sum().backward()
    expected = torch.zeros(5, 3).index_add_(0, index, weight)
    torch.testing.assert_close(inputs.rows.grad, expected)


def test_state_round_trip():
    inputs = started(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    inputs.widen([torch.full((1, 2), 9.0)])
    loaded = PseudoInputs(4, 2)
    loaded.load_state_dict(inputs.state_dict(), strict=True)
    assert sorted(inputs.state_dict()) == ["highest", "lowest", "rows"]
    assert [name for name, _ in loaded.named_parameters()] == ["rows"]
    for name, value in inputs.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
