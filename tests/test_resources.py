"""Memory, threads, precision and automatic settings: what a fit and a call take, and leave as it was."""

import contextlib
import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch

from skswae import AETransformer, _fit
from skswae.models._ae import AEModule
from skswae.training._auto import AutoSettings, holds_rows_out, n_threads
from skswae.training._callbacks import Callback

from .estimators import assert_equal_fits, cheap, gan, swae, two_levels


@pytest.mark.parametrize(
    ("n_rows", "n_epochs", "batch_size", "rate"),
    [(60, 40, 64, 1.25e-4), (600, 40, 64, 1.25e-3), (12_000, 30, 120, 1.25e-3 * 120 / 64),
     (24_000, 15, 240, 1.25e-3 * 240 / 64),
     (60_000, 6, 512, 1e-2), (10_000_000, 4, 512, 1e-2)],
)  # fmt: skip
def test_automatic_settings_follow_the_rows(n_rows, n_epochs, batch_size, rate):
    auto = {"max_iter": "auto", "batch_size": "auto", "learning_rate_init": "auto"}
    assert AutoSettings.resolve(n_rows, **auto) == AutoSettings(n_epochs, batch_size, pytest.approx(rate))
    text = " ".join(AETransformer.__doc__.split())
    assert '"auto" is 40 up to 9,000 rows' in text
    assert "360,000 rows are seen in all: 6 passes over 60,000 rows; at least 4." in text
    given = {"max_iter": 3, "batch_size": 512, "learning_rate_init": 0.1}
    assert AutoSettings.resolve(n_rows, **given) == AutoSettings(3, 512, 0.1)
    for size, peak in [(1024, 1e-2), (8, 1.25e-3)]:
        found = AutoSettings.resolve(n_rows, **{**auto, "batch_size": size}, full_rate=True)
        assert found.learning_rate == peak


@pytest.mark.parametrize(
    ("n_rows", "n_features", "expected"),
    [(19, 1000, False), (20, 1000, True), (1499, 100, True), (1500, 100, False), (60_000, 784, False)],
)
def test_rows_are_held_out_where_they_are_few_for_their_columns(n_rows, n_features, expected):
    assert holds_rows_out(n_rows, n_features) == expected


def test_automatic_settings_are_what_is_trained(iris):
    auto = swae(max_iter="auto").fit(iris[:60])
    assert (auto.n_iter_, auto.batch_size_, auto.learning_rate_init_) == (40, 64, 1.25e-4)
    assert_equal_fits(auto, swae(max_iter=40, batch_size=64, learning_rate_init=1.25e-4).fit(iris[:60]))


@pytest.mark.parametrize("make", [swae, two_levels])
def test_bytes_and_files_are_as_good_as_floats(make, digits, tmp_path):
    """A fit on them is the fit on the same numbers, and so is everything after it."""
    X = (digits[0][:200] * 16).astype(np.uint8)
    np.save(tmp_path / "X.npy", X.astype(float))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")  # read-only
    first, *others = [(make().fit(rows), rows) for rows in (X.astype(float), X, mapped)]
    for other, rows in others:
        assert_equal_fits(other, first[0])
        for method in ("transform", "reconstruct", "score_samples"):
            found, expected = (getattr(e, method)(r) for e, r in ((other, rows), first))
            np.testing.assert_array_equal(found, expected, strict=True)
        parts = (copy.copy(e).partial_fit(r[:50]) for e, r in ((other, rows), first))
        assert_equal_fits(*parts)


def test_a_fit_out_of_memory_says_what_helps(iris):
    def full(x, generator):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(MemoryError, match=r"smaller batch_size.*out of memory"):
        swae(augment=full).fit(iris)


def test_a_call_out_of_memory_takes_smaller_chunks(digits):
    X = np.tile(digits[0], (2, 1)).astype(np.float32)
    estimator = swae().fit(X)
    expected = estimator.transform(X)
    encode, sizes = estimator.module_.encode, []

    def limited(most):
        def encode_few(x):
            sizes.append(len(x))
            if len(x) > most:
                raise torch.OutOfMemoryError("too many")
            return encode(x)

        return encode_few

    estimator.module_.encode = limited(100)
    np.testing.assert_array_equal(estimator.transform(X), expected)
    assert max(sizes) > 100 >= sizes[-1]
    estimator.module_.encode = limited(0)
    with pytest.raises(torch.OutOfMemoryError, match="too many"):
        estimator.transform(X)


def write(module):
    with torch.no_grad():
        module.encoder.linear.weight.mul_(1.5)


def write_through_data(module):
    module.encoder.linear.weight.data.mul_(0)


def reorder(module):  # which leaves sums as they were
    weight = module.encoder.linear.weight.data
    weight.copy_(weight.flip(0))


def replace_data(module):
    module.encoder.linear.weight.data = module.encoder.linear.weight.data * 2


def write_in_inference_mode(module):
    with torch.inference_mode():
        module.encoder.linear.weight.mul_(1.5)
        module.scaler.scale = module.scaler.scale.clone().mul_(3)


def write_to_a_buffer(module):
    module.scaler.location.data.add_(1)


def replace_a_part(module):
    module.encoder.linear = torch.nn.Linear(4, 2)


def add_a_hook(module):
    module.encoder.network.register_forward_hook(lambda part, args, out: out + 1)


def add_a_parametrization(module):
    torch.nn.utils.parametrizations.weight_norm(module.encoder.linear)
    module.encoder.linear.parametrizations.weight.original0.data.mul_(2)


def set_an_attribute(module):
    module.encoder.linear.forward = lambda x: 2 * x[:, :2]


CHANGES = [
    write, write_through_data, reorder, replace_data, write_in_inference_mode,
    write_to_a_buffer, replace_a_part, add_a_hook, add_a_parametrization, set_an_attribute,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_float64_is_computed_with_the_module_as_it_is(change, iris):
    """However it was changed; the float32 codes are the reference."""
    estimator = swae().fit(iris)
    before = estimator.transform(iris)
    change(estimator.module_)
    for rows in (iris, iris[:1]):
        expected = estimator.transform(rows.astype(np.float32))
        np.testing.assert_allclose(estimator.transform(rows), expected, atol=1e-4)
    assert np.abs(estimator.transform(iris) - before).max() > 0.01
    assert {p.dtype for p in estimator.module_.parameters()} == {torch.float32}


@pytest.mark.parametrize("attribute", ["list", "method", "hook", "mate"])
def test_float64_of_a_module_with_other_ways_to_its_parts(attribute, iris):
    """Attributes that are no parts by torch's count lead to copies in float64 too."""

    class Module(AEModule):
        def __init__(self, build, **parameters):
            super().__init__(build, **parameters)
            self.ways = [self.encoder] if attribute == "list" else None
            self.way = self.encoder.forward if attribute == "method" else None
            if attribute == "mate":
                self.decoder.__dict__["mate"] = [self.encoder]
            if attribute == "hook":
                self.register_forward_hook(lambda *arguments: None)

        def encode_x(self, x):
            assert self.decoder is not None  # asked for first
            if self.ways is not None:
                return self.ways[0](x)
            return self._modules.get("encoder")(x) if self.way is None else self.way(x)

    class Estimator(AETransformer):
        def _build_module(self, build):
            return Module(build, **self._own_parameters())

    model = cheap(Estimator, max_iter=1).fit(iris)
    codes = model.transform(iris)
    assert codes.dtype == np.float64
    np.testing.assert_allclose(codes, model.transform(iris.astype(np.float32)), atol=1e-4)


def test_a_part_of_two_names_stays_one_in_float64(iris):
    class Module(AEModule):
        def __init__(self, build, **parameters):
            super().__init__(build, **parameters)
            self.second = self.encoder

        def encode_x(self, x):
            assert self.second is self.encoder
            return self.second(x)

    class Estimator(AETransformer):
        def _build_module(self, build):
            return Module(build, **self._own_parameters())

    assert cheap(Estimator, max_iter=1).fit(iris).transform(iris).dtype == np.float64


def test_float64_after_training_and_in_copies(iris):
    estimator = swae().fit(iris)
    first = estimator.transform(iris)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).transform(iris), first)
    trained = estimator.partial_fit(iris).transform(iris)
    np.testing.assert_array_equal(copy.deepcopy(estimator).transform(iris), trained)
    assert not np.allclose(trained, first)


@pytest.mark.parametrize("make", [gan, two_levels])
def test_precision_is_of_the_training_alone(make, digits, monkeypatch):
    monkeypatch.setattr(_fit, "has_bfloat16", lambda device: True)
    fits = [make(precision=p).fit(digits[0]) for p in ("float32", "tf32", "bf16")]
    float32, tf32, bf16 = (fit.transform(digits[0]) for fit in fits)
    np.testing.assert_array_equal(tf32, float32)  # there is none on a CPU
    assert not np.array_equal(bf16, float32)
    np.testing.assert_allclose(bf16, float32, atol=0.2 * float32.std())
    module = fits[-1].module_
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    with torch.no_grad():
        codes = module.encode(torch.rand(4, 64))
    assert not torch.equal(codes, codes.bfloat16().float())


def test_without_instructions_for_bfloat16_a_fit_warns_and_uses_float32(digits, monkeypatch):
    monkeypatch.setattr(_fit, "has_bfloat16", lambda device: False)
    model = swae(precision="bf16")
    with pytest.warns(RuntimeWarning, match="'precision' parameter is 'bf16', but .* trains in float32"):
        model.fit(digits[0])
    assert_equal_fits(model, swae().fit(digits[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has been said
        model.partial_fit(digits[0])


class Threads(Callback):
    """Notes torch's number of threads at the end of each epoch, and may fail then."""

    def __init__(self, error=None):
        self.error, self.seen = error, set()

    def on_epoch_end(self, run):
        self.seen.add(torch.get_num_threads())
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("n_before", [1, 2])
def test_a_fit_leaves_the_number_of_threads(n_before, iris):
    """A small one runs on one; they are put back, also after a failure."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_before)
        watch = Threads()
        _fit.fit(swae(), iris, callbacks=[watch])
        assert (watch.seen, torch.get_num_threads()) == ({1}, n_before)
        with pytest.raises(RuntimeError, match="broken"):
            _fit.fit(swae(), iris, callbacks=[Threads(RuntimeError("broken"))])
        assert torch.get_num_threads() == n_before
        assert n_threads(torch.nn.Linear(2000, 2000), 256, torch.device("cpu")) == n_before
    finally:
        torch.set_num_threads(before)


class Watch(Callback):
    """Notes what a training consists of, without keeping it alive."""

    def __init__(self, error=None):
        self.error, self.seen = error, []

    def on_epoch_end(self, run):
        step, preparation = run.step, run.callbacks[0]
        parts = [run, step, *step.optimizers.values(), *step.schedulers.values(), *run.callbacks]
        parts += [preparation.rows, preparation.rows.source]
        parts += [callback.loader for callback in run.callbacks if hasattr(callback, "loader")]
        parts += [p.grad for p in run.module.parameters() if p.grad is not None]
        self.seen = [(type(part).__name__, weakref.ref(part)) for part in parts]
        if self.error is not None:
            raise self.error


@pytest.mark.slow
@pytest.mark.parametrize("make", [swae, gan, two_levels])
def test_nothing_of_a_training_outlives_it(make, digits):
    """Neither its parts nor the rows; of the optimisers the moments alone, which a further call needs."""
    for early_stopping, error, method in [
        (True, None, _fit.fit), (False, None, _fit.partial_fit), (True, ZeroDivisionError, _fit.fit),
    ]:  # fmt: skip
        X, model, watch = digits[0].copy(), make(early_stopping=early_stopping), Watch(error)
        rows = weakref.ref(X)
        with contextlib.suppress(ZeroDivisionError):
            method(model, X, callbacks=[watch])
        seen = [*watch.seen, ("rows", rows)]
        assert {"Run", "TrainingStep", "Adam", "Preparation", "Watch", "TrainingRows"} <= {n for n, _ in seen}
        del X, watch
        gc.collect()
        assert [name for name, part in seen if part() is not None] == []
        for tensor in model.module_.state_dict(keep_vars=True).values() if hasattr(model, "module_") else ():
            assert tensor.grad is None
            assert tensor.grad_fn is None
