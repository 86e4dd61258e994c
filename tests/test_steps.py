"""Rates, Adam for rows, and the step for a GPU, which here replays functions instead of graphs."""

import copy
import functools
import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from skswae import (
    AETransformer,
    MIMTransformer,
    SWAETransformer,
    VAETransformer,
    VampPriorTransformer,
    WAETransformer,
    _steps,
    _swae,
)
from skswae._data import Preparation
from skswae._module import reduced_precision
from skswae._rows import Rows, TensorSource
from skswae._steps import DeviceStep, EagerStep, RowAdam, normalize_gradients, one_cycle
from skswae._torch import Tape, standard_normal
from skswae._training import train
from skswae.networks import GatedMLP

from .estimators import cheap
from .own_networks import CosineNet, DropoutMLP

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


# ---------------------------------------------------------------------------
# Rates
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 2, 3, 9, 40, 1000])
@pytest.mark.parametrize("peak", [1e-3, 0.5])
def test_one_cycle_is_torch_s(n_steps, peak):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak, total_steps=n_steps + 1, cycle_momentum=False
    )
    expected = []
    for _ in range(n_steps):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(one_cycle(n_steps, peak), expected, rtol=1e-12)


# ---------------------------------------------------------------------------
# Adam for rows
# ---------------------------------------------------------------------------

N_ROWS, WIDTH = 7, 4


@pytest.fixture(params=["cpu", "cuda"])
def branch(request, monkeypatch):
    """The code for a GPU takes its decisions by `is_cuda` alone: here it runs on the CPU."""
    if request.param == "cuda":
        monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    return request.param


def sparse(index, values):
    """As an embedding's: an index may come several times."""
    return torch.sparse_coo_tensor(
        torch.as_tensor(index)[None], values, (N_ROWS, values.shape[1]), check_invariants=False
    )


def batches(n_steps, kind, seed=0):
    """(index, values) of each step's gradient."""
    rng = np.random.default_rng(seed)
    for step in range(n_steps):
        if kind == "every row":
            index = rng.permutation(N_ROWS)
        elif kind == "few rows":
            index = rng.choice(N_ROWS - 1, size=rng.integers(1, 4), replace=False)
        else:  # with repetitions; never the last row
            index = rng.integers(N_ROWS - 1, size=5)
        yield index, random(len(index), WIDTH, seed=1000 + step)


def dense(index, values):
    gradient = np.zeros((N_ROWS, values.shape[1]))
    np.add.at(gradient, index, values.double().numpy())
    return torch.from_numpy(gradient)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("options", [{}, {"betas": (0.5, 0.9), "eps": 1e-3}])
def test_of_all_rows_row_adam_is_adam(branch, dtype, rtol, options):
    start = random(N_ROWS, WIDTH).to(dtype)
    found, expected = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = RowAdam([found], lr=0.1, **options)
    theirs = torch.optim.Adam([expected], lr=0.1, **options)
    for step, (index, values) in enumerate(batches(20, "every row")):
        for group in (*ours.param_groups, *theirs.param_groups):
            group["lr"] = 0.1 / (1 + step)
        found.grad = sparse(index, values.to(dtype))
        expected.grad = dense(index, values).to(dtype)
        ours.step()
        theirs.step()
        torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol / 10)
    assert (found - start).abs().min() > 1e-3


@pytest.mark.parametrize("kind", ["few rows", "repeated rows"])
def test_each_row_has_an_adam_of_its_own(branch, kind):
    """That steps when the row has a gradient, which is the sum where the row comes several times."""
    start = random(N_ROWS, WIDTH)
    found = nn.Parameter(start.clone())
    ours = RowAdam([found], lr=0.1)
    rows = [nn.Parameter(row.clone()) for row in start]
    theirs = [torch.optim.Adam([row], lr=0.1) for row in rows]
    n_steps = np.zeros(N_ROWS)
    for index, values in batches(20, kind):
        found.grad = sparse(index, values)
        before, state = found.detach().clone(), copy.deepcopy(ours.state[found])
        ours.step()
        gradient, hit = dense(index, values), np.isin(np.arange(N_ROWS), index)
        for k in np.flatnonzero(hit):
            rows[k].grad = gradient[k]
            theirs[k].step()
        n_steps += hit
        torch.testing.assert_close(found, torch.stack(list(rows)), rtol=1e-12, atol=1e-13)
        # those without a gradient stay, and remember
        assert torch.equal(found[~hit], before[~hit])
        assert not (found[hit] == before[hit]).any()
        for name, value in state.items():
            assert torch.equal(ours.state[found][name][~hit], value[~hit])
    assert torch.equal(found[-1], start[-1])
    np.testing.assert_array_equal(ours.state[found]["n_steps"], n_steps)
    assert n_steps[-1] == 0 < n_steps[:-1].min()


def test_a_gradient_of_zero_is_a_gradient(branch):
    """Momentum moves the row on, as Adam's does."""
    found, expected = (nn.Parameter(random(N_ROWS, WIDTH)) for _ in range(2))
    ours, theirs = RowAdam([found], lr=0.1), torch.optim.Adam([expected], lr=0.1)
    for values in (random(N_ROWS, WIDTH, seed=1), torch.zeros(N_ROWS, WIDTH).double()):
        found.grad, expected.grad = sparse(np.arange(N_ROWS), values), values
        before = found.detach().clone()
        ours.step()
        theirs.step()
        assert not (found == before).any()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_no_gradient_is_no_step(branch):
    parameter = nn.Parameter(random(N_ROWS, WIDTH))
    optimizer = RowAdam([parameter], lr=0.1)
    optimizer.step()
    assert torch.equal(parameter, random(N_ROWS, WIDTH))


def test_both_branches_of_row_adam_agree(monkeypatch):
    found = {}
    for name in ("cpu", "cuda"):
        if name == "cuda":
            monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
        parameter = nn.Parameter(random(N_ROWS, WIDTH))
        optimizer = RowAdam([parameter], lr=torch.tensor(0.1))  # on a device it is a tensor
        for index, values in batches(30, "repeated rows"):
            parameter.grad = sparse(index, values)
            optimizer.step()
        found[name] = [parameter.detach(), *optimizer.state[parameter].values()]
    assert len(found["cpu"]) == 4
    for a, b in zip(*found.values()):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_row_adam_goes_on_from_its_state(branch, dtype):
    steps = [(index, values.to(dtype)) for index, values in batches(12, "repeated rows")]

    def run(parameter, optimizer, some):
        for index, values in some:
            parameter.grad = sparse(index, values)
            optimizer.step()

    whole = nn.Parameter(random(N_ROWS, WIDTH).to(dtype))
    run(whole, RowAdam([whole], lr=0.1), steps)
    first = nn.Parameter(random(N_ROWS, WIDTH).to(dtype))
    before = RowAdam([first], lr=0.1)
    run(first, before, steps[:5])
    second = nn.Parameter(first.detach().clone())
    after = RowAdam([second], lr=7.0)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    run(first, before, steps[5:7])  # which moves the other's state alone
    run(second, after, steps[5:])
    assert torch.equal(second, whole)


def test_row_adam_s_state_follows_its_rows_to_another_device():
    """Of the devices that every machine has one is neither a CPU nor computes."""
    here = nn.Parameter(random(N_ROWS, WIDTH))
    optimizer = RowAdam([here], lr=0.1)
    here.grad = sparse([1, 2], random(2, WIDTH))
    optimizer.step()
    there = nn.Parameter(here.detach().to("meta"))
    moved = RowAdam([there], lr=0.1)
    moved.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert {name: value.device.type for name, value in moved.state[there].items()} == {
        "n_steps": "meta",
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }


# ---------------------------------------------------------------------------
# Normalised gradients
# ---------------------------------------------------------------------------


def test_each_tensor_s_gradient_gets_norm_one():
    parameters = [nn.Parameter(random(3, 4)), nn.Parameter(random(5)), nn.Parameter(random(2))]
    gradients = [1e3 * random(3, 4, seed=1), 1e-7 * random(5, seed=2)]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient.clone()
    normalize_gradients(parameters)
    for parameter, gradient in zip(parameters, gradients):
        norm = np.sqrt(np.square(gradient.numpy()).sum())
        np.testing.assert_allclose(parameter.grad.numpy(), gradient.numpy() / (norm + 1e-7), rtol=1e-12)
    assert parameters[2].grad is None


def test_row_adam_normalises_the_whole_matrix(branch):
    start, found, expected = random(N_ROWS, WIDTH), *(nn.Parameter(random(N_ROWS, WIDTH)) for _ in range(2))
    for parameter in (found, expected):
        parameter.data.copy_(start)
    ours, theirs = RowAdam([found], lr=0.1, normalize=True), torch.optim.Adam([expected], lr=0.1)
    for index, values in batches(4, "every row"):
        found.grad, expected.grad = sparse(index, values), dense(index, values)
        ours.step()
        normalize_gradients([expected])
        theirs.step()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------
# Steps of real modules
# ---------------------------------------------------------------------------

X = np.random.default_rng(0).random((60, 5)).astype(np.float32)
BATCH_SIZE = 8  # 7 batches: of 9 rows and of 8
N_EPOCHS = 4
N_STEPS = 7 * N_EPOCHS
ORDER = [9, 9, 9, 9, 8, 8, 8] * N_EPOCHS

MODELS = {
    "ae": (AETransformer, {}),
    "swae": (SWAETransformer, {"n_pseudo_inputs": 6}),
    "swae by codes": (SWAETransformer, {"n_pseudo_inputs": 6, "search_space": "latent"}),
    "swae by angles": (SWAETransformer, {"n_pseudo_inputs": 6, "metric": "cosine"}),
    "vae": (VAETransformer, {}),
    "vae of bits": (VAETransformer, {"likelihood": "bernoulli"}),
    "wae-mmd": (WAETransformer, {"input_noise": 0.3}),
    "wae-gan": (WAETransformer, {"divergence": "gan", "critic_learning_rate_init": 5e-4}),
    "wae-sliced": (WAETransformer, {"divergence": "sliced", "n_projections": 5}),
    "vampprior": (VampPriorTransformer, {"n_pseudo_inputs": 6, "warmup": 1}),
    "mim": (MIMTransformer, {"n_pseudo_inputs": 6, "warmup": 2}),
}


@functools.cache
def fitted(name, **options):
    Estimator, parameters = MODELS[name]
    parameters = {"network": GatedMLP((6,)), "init": "random", **parameters, **options}
    return cheap(Estimator, max_iter=1, **parameters).fit(X).module_


def fresh(name, **options):
    """A module like those in the middle of a fit."""
    module = copy.deepcopy(fitted(name, **options))
    module.before_training([torch.from_numpy(X)])
    return module


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Graphs for short trainings, and rows that are trained sparsely though there are few."""
    monkeypatch.setattr(_steps, "GRAPH_MIN_STEPS", 1)
    monkeypatch.setattr(_swae, "SPARSE_FROM", 0)


def run(module, step, epochs=range(N_EPOCHS), batch_size=BATCH_SIZE, rows=X):
    source = TensorSource(torch.from_numpy(rows))
    return train(module, source, step, epochs=epochs, batch_size=batch_size, seed=3, device=CPU).history


def device_step(Step, module, preprocess=None, **options):
    return Step(module, preprocess, **{"learning_rate": 0.01, "n_steps_planned": N_STEPS, **options})


class Replayed(DeviceStep):
    """Its graph is the function."""

    def __init__(self, *args, **options):
        self.captured = []  # (rows, steps before it)
        self.n_replays = 0
        super().__init__(*args, **options)

    def _capture_step(self, x, step):
        self.captured.append((len(x), self._n_steps_done))
        super()._capture_step(x, step)

    def _capture(self, function):
        assert self.module.settled

        def replay():
            self.n_replays += 1
            function()

        return replay


class Eager(DeviceStep):
    """Never captures."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, "capturable": False})

    def _capture(self, function):
        raise AssertionError


def flat(value):
    """Tensors and numbers of nested dicts and lists."""
    if isinstance(value, dict):
        return [x for key in value for x in flat(value[key])]
    if isinstance(value, list | tuple):
        return [x for part in value for x in flat(part)]
    return [value]


def assert_same(a, b):
    """Bit for bit."""
    a, b = flat(a), flat(b)
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y


def assert_trained_alike(a, b):
    """(module, step, history) of each: parameters, buffers, the optimisers' state, and recorded means."""
    assert_same(a[0].state_dict(), b[0].state_dict())
    assert_same(a[1].state(), b[1].state())
    assert_same(a[2], b[2])


def trained(Step, name, n_epochs=N_EPOCHS, **options):
    module = fresh(name)
    start = copy.deepcopy(module.state_dict())
    step = device_step(Step, module, **options)
    history = run(module, step, range(n_epochs))
    moved = [not torch.equal(value, start[key]) for key, value in module.named_parameters()]
    assert all(moved)
    return module, step, history


@pytest.mark.parametrize("name", MODELS)
def test_replays_train_as_eager_steps_do(name):
    replayed = trained(Replayed, name, n_steps=N_STEPS)
    assert replayed[1].n_replays > 0
    assert_trained_alike(replayed, trained(Eager, name, n_steps=N_STEPS))


def test_trained_sparsely():
    """What the tests of SWAE here are about."""
    step = device_step(Replayed, fresh("swae"))
    assert [type(o) for o in step.optimizers["autoencoder"]] == [torch.optim.Adam, RowAdam]


@pytest.mark.parametrize("name", ["ae", "vae", "swae"])
def test_graphs_are_captured_once_a_size_after_three_eager_steps(name):
    _, step, _ = trained(Replayed, name)
    expected = [(n, [i for i, m in enumerate(ORDER) if m == n][3]) for n in (9, 8)]
    assert sorted(step.captured) == sorted(expected)
    assert step.n_replays == N_STEPS - 6


@pytest.mark.parametrize("name", ["vampprior", "mim"])
def test_no_graph_keeps_a_weight_that_warms_up(name):
    module, step, _ = trained(Replayed, name)
    assert {n for n, _ in step.captured} == {8, 9}
    assert len(step.captured) == 2
    assert min(done for _, done in step.captured) >= 7 * module.warmup


@pytest.mark.parametrize("name", ["vampprior", "mim"])
def test_the_three_eager_steps_are_of_the_settled_objective(name):
    """It allocates, and asks its tape for, what the one that warms up did not: a graph must not be first."""
    module, step, _ = trained(Replayed, name)
    for n, done in step.captured:
        assert ORDER[7 * module.warmup : done].count(n) >= 3


def test_no_graph_for_few_steps(monkeypatch):
    monkeypatch.setattr(_steps, "GRAPH_MIN_STEPS", N_STEPS - 3)
    _, step, _ = trained(Replayed, "vae")
    assert step.captured == [(9, 3)]  # the first steps are of 9 rows
    monkeypatch.setattr(_steps, "GRAPH_MIN_STEPS", N_STEPS - 2)
    _, step, _ = trained(Replayed, "vae")
    assert step.captured == []
    _, step, _ = trained(Replayed, "vae", n_steps_planned=3)
    assert step.captured == []


def test_no_graph_where_none_can_be():
    _, step, _ = trained(Replayed, "vae", capturable=False)
    assert step.captured == []


class Failing(Replayed):
    """A capture that fails, before or after the function has run."""

    when = "before"

    def _capture(self, function):
        if self.when == "after":
            with undone(self):
                function()
        raise RuntimeError("an operation is not permitted")


class undone:
    """Put the numbers back that a step on the CPU changes: within the block a graph is captured."""

    def __init__(self, step):
        self.step = step

    def __enter__(self):
        step = self.step
        state = [s for o in flat(step.optimizers) for s in flat(list(o.state.values()))]
        rates = [g["lr"] for o in flat(step.optimizers) for g in o.param_groups]
        places = [tape.place for tape in step._tapes.values()]
        numbers = [*step.module.state_dict().values(), *state, *rates, *places, step._counter, step._total]
        self.before = [(t, t.detach().clone()) for t in numbers]

    def __exit__(self, *_):
        with torch.no_grad():
            for tensor, value in self.before:
                tensor.copy_(value)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["swae", "wae-gan", "mim"])
def test_a_failed_capture_is_one_warning_and_eager_steps(name, when, monkeypatch):
    monkeypatch.setattr(Failing, "when", when)
    module = fresh(name)
    step = device_step(Failing, module)
    with pytest.warns(RuntimeWarning) as caught:
        history = run(module, step)
    (warning,) = caught
    assert type(module).__name__ in str(warning.message)
    assert "not permitted" in str(warning.message)
    assert len(step.captured) == 1
    assert step.n_replays == 0
    assert_trained_alike((module, step, history), trained(Eager, name))


@pytest.mark.parametrize("name", ["ae", "swae by angles"])
@pytest.mark.parametrize("n_steps", [None, N_STEPS])
def test_rates_on_the_device_are_those_of_the_host(name, n_steps):
    """Of modules whose numbers the noise does not reach: the two draw it differently."""
    module, reference = fresh(name), fresh(name)
    for m in (module, reference):
        m.alpha = 0.0
        m.beta = 0.0
    step = device_step(Replayed, module, n_steps=n_steps)
    history = run(module, step)
    expected = run(reference, EagerStep(reference, None, learning_rate=0.01, n_steps=n_steps))
    for (key, value), other in zip(module.named_parameters(), reference.parameters()):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-6, msg=key)
    for a, b in zip(history, expected):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    # and the rate matters
    other = fresh(name)
    other.alpha = other.beta = 0.0
    run(other, EagerStep(other, None, learning_rate=0.01, n_steps=None if n_steps else N_STEPS))
    assert not np.allclose(*[flat_parameters(m) for m in (other, reference)], rtol=1e-2)


def flat_parameters(module):
    return torch.cat([p.detach().ravel() for p in module.parameters()]).numpy()


def test_each_player_has_its_rates_on_the_device():
    module = fresh("wae-gan")
    assert module.learning_rates == {"critic": 5e-4}
    step = device_step(Replayed, module, n_steps=N_STEPS)
    seen = {"autoencoder": [], "critic": []}
    after_step = module.after_step

    def record():
        for name, optimizers in step.optimizers.items():
            seen[name].append(float(optimizers[0].param_groups[0]["lr"]))
        after_step()

    module.after_step = record
    run(module, step)
    for name, peak in [("autoencoder", 0.01), ("critic", 5e-4)]:
        np.testing.assert_allclose(seen[name][::2], one_cycle(N_STEPS, peak), rtol=1e-6)


class Sum(nn.Module):
    """What it saw of each batch, added up on the device: nothing of it passes through Python."""

    settled = True
    learning_rates: dict = {}

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(2))
        self.register_buffer("rows", torch.zeros(2))
        self.register_buffer("squares", torch.zeros(2))

    def players(self):
        return {"sum": [self.value]}

    def sparse_parameters(self):
        return []

    def losses(self, x, generator):
        with torch.no_grad():
            self.rows += x.sum(dim=0)
            self.squares += x.square().sum(dim=0)
        yield "sum", {"loss": (self.value * x.mean(dim=0)).sum(), "mean": x.mean()}

    def before_epoch(self, epoch):
        pass

    def after_step(self):
        pass


def test_a_replay_sees_each_new_batch():
    """Though what was captured reads one tensor only; every batch, once, and the mean is over all rows."""
    rows = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    module = Sum()
    step = device_step(Replayed, module)
    history = run(module, step, rows=rows)
    assert step.n_replays == N_STEPS - 6
    np.testing.assert_allclose(module.rows, N_EPOCHS * rows.sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(module.squares, N_EPOCHS * (rows**2).sum(axis=0), rtol=1e-4)
    for record in history:
        assert record["mean"] == pytest.approx(rows.mean(), rel=1e-4)


def test_a_replay_does_not_keep_the_caller_s_batch():
    """Neither is it changed, nor does a change of it afterwards reach the next step."""
    module = Sum()
    step = device_step(Replayed, module)
    step.begin_epoch()
    given = []
    for i in range(8):
        x = torch.full((3, 2), float(i))
        step(x, generator())
        given.append(x)
        if i > 3:
            given[3].fill_(1e6)
    assert [x[0, 0].item() for x in given[4:]] == [4.0, 5.0, 6.0, 7.0]
    assert module.rows.tolist() == [3.0 * sum(range(8))] * 2


@pytest.mark.parametrize("name", ["ae", "swae", "wae-gan"])
def test_a_normalised_step_is_normalise_then_adam(name):
    """Against a loop written out."""
    module, by_hand = fresh(name), fresh(name)
    x = torch.from_numpy(X)
    step = EagerStep(module, None, learning_rate=0.01, normalize=True)
    optimizers = {
        player: torch.optim.Adam(parameters, lr=by_hand.learning_rates.get(player, 0.01))
        for player, parameters in by_hand.players().items()
    }
    step.begin_epoch()
    for i in range(3):
        step(x, generator(i))
        for player, terms in by_hand.losses(x, generator(i)):
            optimizers[player].zero_grad()
            terms["loss"].backward(inputs=by_hand.players()[player])
            for parameter in by_hand.players()[player]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.to_dense()
                if parameter.grad is not None:
                    parameter.grad /= parameter.grad.square().sum().sqrt() + 1e-7
            optimizers[player].step()
            by_hand.after_step()
    theirs = by_hand.state_dict()
    for key, value in module.state_dict().items():
        if key == "pseudo_inputs.rows":  # of which those without a gradient rest
            continue
        torch.testing.assert_close(value, theirs[key], rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("Step", [EagerStep, Replayed])
@pytest.mark.parametrize("name", ["swae", "wae-gan"])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_step_resumes_where_another_stood(Step, name, normalize):
    def make(module):
        options = {"learning_rate": 0.01, "n_steps": N_STEPS, "normalize": normalize}
        if Step is EagerStep:
            return EagerStep(module, None, **options)
        return device_step(Step, module, **options)

    whole, first = fresh(name), fresh(name)
    step = make(whole)
    history = run(whole, step)
    before = make(first)
    begun = run(first, before, range(2))
    second = fresh(name)
    second.load_state_dict(first.state_dict())
    after = make(second)
    after.resume(copy.deepcopy(before.state()), 14)
    rest = run(second, after, range(2, N_EPOCHS))
    assert_trained_alike((whole, step, history), (second, after, begun + rest))


# ---------------------------------------------------------------------------
# Random numbers of a step
# ---------------------------------------------------------------------------


class Listener(Sum):
    """Keeps the noise that it was given."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def losses(self, x, generator):
        noise = standard_normal(x.shape, x, generator)
        self.heard.append(noise.clone())
        yield "sum", {"loss": (self.value * noise.mean(dim=0)).sum()}


@pytest.mark.parametrize("capacity", [1, 2, 256])
def test_no_two_steps_have_the_same_noise(capacity, monkeypatch):
    """In an epoch, of any two sizes of batches, and in any two epochs; a resumed fit has what one fit has."""
    monkeypatch.setattr(_steps, "_TAPE_STEPS", capacity)

    def heard(epochs, Step=Replayed):
        module = Listener()
        run(module, device_step(Step, module), epochs, rows=X[:, :2])
        return module.heard

    whole = heard(range(4))
    numbers = torch.cat([noise.ravel() for noise in whole])
    # numbers of float32 may agree by chance, whole rows do not
    rows = torch.cat(whole)
    assert len(rows.unique(dim=0)) == len(rows) == 4 * 60
    assert abs(numbers.mean()) < 5 / len(numbers) ** 0.5
    assert_same(whole, heard(range(2)) + heard(range(2, 4)))
    assert_same(whole, heard(range(4), Eager))


def test_blocks_are_bounded(monkeypatch):
    monkeypatch.setattr(_steps, "_TAPE_NUMBERS", 50)
    step = trained(Replayed, "vae")[1]
    assert {n: tape.capacity for (n, _), tape in step._tapes.items()} == {9: 50 // 45, 8: 50 // 40}
    assert_trained_alike(trained(Replayed, "vae"), trained(Eager, "vae"))


# ---------------------------------------------------------------------------
# State, to go on from
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["swae", "wae-gan", "mim", "vae"])
@pytest.mark.parametrize("Step", [Replayed, Eager])
def test_device_steps_go_on_where_they_stopped(name, Step):
    whole = fresh(name)
    history = run(whole, device_step(Step, whole))
    parts = fresh(name)
    step = device_step(Step, parts)
    first = run(parts, step, range(1))
    earlier = step.state()
    kept = copy.deepcopy(earlier)
    step = device_step(Step, parts, state=earlier)
    assert_same(history, first + run(parts, step, range(1, N_EPOCHS)))
    assert_same(whole.state_dict(), parts.state_dict())
    assert_same(earlier, kept)  # a failed fit leaves it as it was


def test_moments_get_the_layout_of_their_parameters():
    """Convolutions are laid out otherwise on a GPU, and the fused Adam reads memory as it lies."""

    class Image(Sum):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(random(2, 3, 4, 5).float())

        def losses(self, x, generator):
            yield "all", {"loss": (self.weight.square() * random(2, 3, 4, 5, seed=1).float()).sum()}

        def players(self):
            return {"all": [self.weight]}

    module, reference = Image(), Image()
    step = EagerStep(module, None, learning_rate=0.01)
    step(torch.zeros(1, 1), torch.Generator())
    state = step.state()
    for values in state["all"][0]["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            values[name] = values[name].to(memory_format=torch.channels_last)
    EagerStep(module, None, learning_rate=0.01, state=state)(torch.zeros(1, 1), torch.Generator())
    step = EagerStep(reference, None, learning_rate=0.01)
    for _ in range(2):
        step(torch.zeros(1, 1), torch.Generator())
    torch.testing.assert_close(module.weight, reference.weight)


@pytest.mark.parametrize("name", ["ae", "swae by angles"])
@pytest.mark.parametrize(("First", "Second"), [(EagerStep, Replayed), (Replayed, EagerStep)])
def test_another_device_s_step_goes_on_from_the_state(name, First, Second):
    """A module may be fitted on one device and trained further on another."""

    def build(Step, module, state=None):
        options = {"n_steps_planned": N_STEPS} if issubclass(Step, DeviceStep) else {}
        return Step(module, None, learning_rate=0.01, state=state, **options)

    def prepared():
        module = fresh(name)
        module.alpha = module.beta = 0.0  # without noise
        return module

    module, reference = prepared(), prepared()
    step = build(First, module)
    run(module, step, range(2))
    second = build(Second, module, step.state())
    run(module, second, range(2, 4))
    run(reference, build(EagerStep, reference), range(4))
    np.testing.assert_allclose(flat_parameters(module), flat_parameters(reference), rtol=1e-3, atol=1e-5)
    # what torch looks at: a graph is not captured of an Adam that is not capturable
    fresh_groups = [g for o in flat(build(Second, prepared()).optimizers) for g in o.param_groups]
    groups = [g for o in flat(second.optimizers) for g in o.param_groups]
    for group, expected in zip(groups, fresh_groups):
        for key in ("capturable", "fused"):
            assert group.get(key) == expected.get(key)
        assert type(group["lr"]) is type(expected["lr"])


# ---------------------------------------------------------------------------
# What runs outside of a graph
# ---------------------------------------------------------------------------


class Augmentation:
    """Adds noise of the generator's; counts its calls, and whether they were in a captured function."""

    def __init__(self, is_random):
        self.is_random = is_random
        self.step = None
        self.inside = []
        self.generators = []

    def __call__(self, raw, generator):
        self.inside.append(self.step.is_inside)
        self.generators.append(generator)
        if not self.is_random:
            return 2.0 * raw
        return raw + 0.1 * torch.randn(raw.shape, generator=generator)


class Watched(Replayed):
    is_inside = False

    def _capture(self, function):
        def replay():
            self.is_inside = True
            function()
            self.is_inside = False

        return replay


@pytest.mark.parametrize("is_random", [False, True])
def test_augmentation_runs_before_the_graph(is_random):
    module = fresh("vae")
    augmentation = Augmentation(is_random)
    augmentation.step = step = device_step(Watched, module, augmentation)
    history = run(module, step)
    assert len(augmentation.inside) == N_STEPS
    assert sum(augmentation.inside) == (0 if is_random else N_STEPS - 6)
    if is_random:
        assert not any(isinstance(g, Tape) for g in augmentation.generators)
    again = fresh("vae")
    augmentation = Augmentation(is_random)
    augmentation.step = eager = device_step(Eager, again, augmentation)
    eager.is_inside = False
    assert_trained_alike((module, step, history), (again, eager, run(again, eager)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("augmented", [False, True])
def test_rows_come_to_the_step_as_they_came(dtype, augmented):
    """Bytes are brought to the module's units in the step."""
    raw = (255 * X).astype(dtype)
    scale = torch.tensor(255.0, dtype=torch.float64)
    location = torch.full((5,), 100.0, dtype=torch.float64)

    def augment(rows, generator):
        return rows + torch.randn(rows.shape, generator=generator)

    def run_with(Step, given, **units):
        module = fresh("vae", output_activation="identity")
        module.location.copy_(location)
        module.scale.copy_(scale)
        rows = Rows(given, **units)
        step = device_step(Step, module, Preparation(rows, augment if augmented else None, module))
        return module, step, run(module, step, rows=given)

    replayed = run_with(Replayed, raw, location=location, scale=scale)
    assert replayed[1].n_replays == N_STEPS - 6
    assert_trained_alike(replayed, run_with(Eager, raw, location=location, scale=scale))
    if not augmented:
        in_units = ((raw.astype(np.float64) - 100.0) / 255.0).astype(np.float32)
        assert_trained_alike(replayed, run_with(Replayed, in_units))


class Strict(TorchDispatchMode):
    """Notes what a graph refuses: what makes the host wait, or draws, or sends numbers from the host."""

    refused = {
        "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive",
        "bincount", "is_nonzero", "equal", "normal_", "random_", "uniform_", "bernoulli_", "exponential_",
        "randn", "rand", "randint", "randperm", "bernoulli", "multinomial", "repeat_interleave",
    }  # fmt: skip

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = [
            i
            for i in (args[1] if name in ("index", "index_put", "index_put_") else [])
            if i is not None and i.dtype in (torch.bool, torch.uint8)
        ]
        if name in self.refused or masks:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


class FromHost(TorchFunctionMode):
    """Notes tensors made of the host's numbers, whose copies to a device a graph refuses."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor):
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


class StrictlyCaptured(Replayed):
    """Runs what it captures under the eyes of :class:`Strict`, and undoes it."""

    def _capture(self, function):
        with undone(self), Strict() as mode, FromHost() as other:
            function()
        assert mode.found + other.found == []
        return super()._capture(function)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_captured_can_be(name, monkeypatch):
    """Of what a GPU runs, as far as the CPU can tell; capturing is no step."""
    module, reference = fresh(name), fresh(name)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    # where the package asks a type of device rather than `is_cuda`, the answer is the CPU's
    step = device_step(StrictlyCaptured, module, n_steps=N_STEPS)
    other = device_step(Eager, reference, n_steps=N_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = run(module, step)
    expected = run(reference, other)
    assert len(step.captured) == 2
    assert_trained_alike((module, step, history), (reference, other, expected))


def test_strict_notices():
    x = torch.ones(3)
    for waits in (
        lambda: x.sum().item(),
        lambda: bool(x.any()),
        lambda: x[x > 0],
        lambda: torch.nonzero(x),
        lambda: torch.randn(3),
        lambda: torch.tensor([1.0]),
        lambda: x.unique(),
    ):
        with Strict() as mode, FromHost() as other:
            waits()
        assert mode.found or other.found
    with Strict() as mode, FromHost() as other:
        torch.where(x > 0, x, torch.zeros(3)) + 2.0 * x[0] + x[torch.zeros_like(x, dtype=torch.int64)]
        x[:2] = 4.0
    assert mode.found == other.found == []


# ---------------------------------------------------------------------------
# Networks in bfloat16
# ---------------------------------------------------------------------------


def networks_of(module):
    return [part for part in module.modules() if hasattr(part, "_built_as")]


def outputs(module, x):
    with torch.no_grad():
        z = module.encode(x)
        return [z, module.decode(z)]


def n_hooks(module):
    return sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in module.modules())


NETWORKS = [GatedMLP((6,)), DropoutMLP(), CosineNet()]


@pytest.mark.parametrize("name", ["ae", "swae", "vae", "wae-gan", "vampprior"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_networks_in_bfloat16(name, network):
    module = fresh(name, network=network).eval()
    x = torch.from_numpy(X)
    before, weights = outputs(module, x), copy.deepcopy(module.state_dict())
    rounded = []
    with reduced_precision(module, "bf16"):
        inside = outputs(module, x)
        assert len(networks_of(module)) >= 2
        for part in networks_of(module):
            part.register_forward_hook(lambda part, args, out: rounded.append((args, out)))
        outputs(module, x)
        assert_same(module.state_dict(), weights)
    for args, out in rounded:
        assert all(a.dtype == torch.float32 for a in args)
        assert out.dtype == torch.float32
        if not isinstance(network, CosineNet):  # a cosine in float32 of a layer in bfloat16
            assert torch.equal(out, out.bfloat16().float())
    assert rounded
    for a, b in zip(inside, before):
        assert a.dtype == torch.float32
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)
    assert_same(outputs(module, x), before)
    assert not torch.is_autocast_enabled("cpu")


def test_no_hooks_are_left():
    module = fresh("vampprior")
    own = n_hooks(module)
    with reduced_precision(module, "bf16"):
        assert n_hooks(module) == own + 2 * len(networks_of(module))
    assert n_hooks(module) == own


def test_an_error_in_a_network_leaves_float32_behind():
    module = fresh("ae").eval()
    x = torch.from_numpy(X)
    before = outputs(module, x)

    def fail():
        with reduced_precision(module, "bf16"):
            module.encode(x[:, :3])  # of another width

    for _ in range(2):
        with pytest.raises(RuntimeError, match="shape"):
            fail()
        assert not torch.is_autocast_enabled("cpu")
        assert n_hooks(module) == 0
        assert_same(outputs(module, x), before)
    # and one that is caught within the block leaves the block as it is
    with reduced_precision(module, "bf16"):
        expected = outputs(module, x)
        with pytest.raises(RuntimeError, match="shape"):
            module.encode(x[:, :3])
        assert not torch.is_autocast_enabled("cpu")
        assert_same(outputs(module, x), expected)
        product = x @ x.T
        assert product.dtype == torch.float32
        assert not torch.equal(product, product.bfloat16().float())


def test_an_interrupt_in_a_network_leaves_float32_behind(monkeypatch):
    """It calls no hooks."""
    module = fresh("ae").eval()
    linear = next(m for m in module.encoder.modules() if isinstance(m, nn.Linear))

    def interrupted(x):
        raise KeyboardInterrupt

    monkeypatch.setattr(linear, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt), reduced_precision(module, "bf16"):
        module.encode(torch.from_numpy(X))
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_other_precisions_change_nothing_on_a_cpu(precision):
    module = fresh("swae").eval()
    before = outputs(module, torch.from_numpy(X))
    with reduced_precision(module, precision):
        assert n_hooks(module) == 0
        assert_same(outputs(module, torch.from_numpy(X)), before)


@pytest.mark.parametrize("name", ["swae", "swae by angles"])
def test_step_2_stays_float32_s(name):
    """Rows whose distances bfloat16 could not tell apart."""
    module = fresh(name).eval()
    with torch.no_grad():
        module.pseudo_inputs.rows.copy_(1.0 + 1e-3 * random(6, 5))
    x = (1.0 + 1e-3 * random(60, 5, seed=1)).float()
    expected = module.assign(x)
    assert len(expected.unique()) > 3
    with reduced_precision(module, "bf16"):
        assert torch.equal(module.assign(x), expected)


@pytest.mark.parametrize("name", ["ae", "swae", "wae-gan", "mim"])
def test_training_in_bfloat16(name):
    """Weights stay float32; it is another training, near the one in float32, and replays are the same."""
    found = {}
    for precision, Step in itertools.product(["float32", "bf16"], [Replayed, Eager]):
        module = fresh(name)
        step = device_step(Step, module)
        with reduced_precision(module, precision):
            history = run(module, step, range(3))
        assert all(p.dtype == torch.float32 for p in module.parameters())
        found[precision, Step] = module, step, history
    for precision in ("float32", "bf16"):
        assert_trained_alike(found[precision, Replayed], found[precision, Eager])
    a, b = (flat_parameters(found[precision, Eager][0]) for precision in ("float32", "bf16"))
    assert not np.array_equal(a, b)
    np.testing.assert_allclose(a, b, atol=0.15)


@pytest.mark.parametrize("name", MODELS)
def test_which_modules_promise_to_be_capturable(name):
    assert fresh(name).capturable
    if name == "wae-mmd":
        sinkhorn = fresh(name)
        sinkhorn.divergence = "sinkhorn"  # it reads from the device whether it has converged
        assert not sinkhorn.capturable
