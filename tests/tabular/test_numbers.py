"""What the numbers of a table's model are worth: filled cells, outliers, classes; and what they ignore."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from sklearn.datasets import load_iris, load_wine

from skswae import AETransformer, SWAETransformer, VAETransformer
from skswae.networks import GatedMLP
from skswae.tabular import TableAutoencoder

from ..estimators import cheap
from .people import people


def wine(seed=0, share=0.2):
    """Wines with their kind as a category, and the same with cells missing at random."""
    found = load_wine(as_frame=True)
    full = found.data.assign(kind=pd.Categorical.from_codes(found.target, ["a", "b", "c"]))
    mask = np.random.default_rng(seed).random(full.shape) < share
    return full, full.mask(mask), mask


@pytest.mark.slow
@pytest.mark.parametrize("Estimator", [SWAETransformer, VAETransformer])
def test_imputation_beats_the_mean(Estimator):
    full, X, mask = wine()
    model = TableAutoencoder(
        Estimator(6, network=GatedMLP((64,)), max_iter=150, device="cpu"), random_state=0
    ).fit(X)
    found = model.impute(X)
    draws = model.impute(X, n_draws=8, random_state=0)
    errors, of_mean, of_draws, spread = [], [], [], []
    for j, name in enumerate(full.columns[:-1]):
        hidden = mask[:, j]
        truth, scale = full.loc[hidden, name], full[name].std()
        errors.append((((found.loc[hidden, name] - truth) / scale) ** 2).mean())
        of_mean.append((((X[name].mean() - truth) / scale) ** 2).mean())
        drawn = np.array([draw.loc[hidden, name] for draw in draws])
        of_draws.append((((drawn[0] - truth) / scale) ** 2).mean())
        spread.append((drawn.std(axis=0) / scale).mean())
    assert np.mean(errors) < 0.75 * np.mean(of_mean)
    assert np.mean(errors) < np.mean(of_draws) < 2.5 * np.mean(errors)  # twice, of exact draws
    assert min(spread) > 0.05
    hidden = mask[:, -1]
    right = (found["kind"] == full["kind"])[hidden].mean()
    assert right > 0.8 > (full["kind"][hidden] == X["kind"].mode()[0]).mean()


def test_scores_are_log_probabilities_of_cells_given_codes_without_them():
    """By scipy, from codes of rows whose cells are missing."""
    X = people(60)
    model = TableAutoencoder(cheap(AETransformer, network=GatedMLP((8,)), max_iter=2), random_state=0).fit(X)
    fitted, cells = model._fitted, model.codec_.encode(X)
    order, columns = list(fitted.table.order), fitted.table.columns
    n, first = columns.n_numbers, columns.n_numbers + columns.n_booleans
    x, noise = fitted.table.rows(cells), fitted.head.hidden_noise.numpy()
    total, observed = np.zeros(60), ~np.isnan(cells[:, order])
    for fold in range(5):
        without = cells.copy()
        without[:, order[fold::5]] = np.nan
        Z = fitted.codes(without)
        mean = fitted.of_codes(Z, lambda head, output: output[:, :n])
        p = fitted.of_codes(Z, lambda head, output: head.probabilities(output))
        for j in range(fold, len(order), 5):
            value, rows = cells[:, order[j]], observed[:, j]
            if j < n:
                found = scipy.stats.norm.logpdf(x[:, j], mean[:, j], noise[j])
            elif j < first:
                found = np.log(np.where(value == 1.0, p[:, j], 1.0 - p[:, j]))
            else:
                level = int(columns.starts()[j]) + np.nan_to_num(value).astype(int)
                found = np.log(p[np.arange(60), level])
            total[rows] += found[rows]
    assert not observed.all()
    assert 0 < n < first < len(order)
    expected = total / observed.sum(axis=1) * len(order)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-4)
    assert model.score(X) == model.score_samples(X).mean()


@pytest.mark.parametrize("contamination", [0.05, 0.3])
def test_the_share_of_outliers(contamination):
    X = people(100)
    model = TableAutoencoder(
        cheap(AETransformer, network=GatedMLP((8,)), max_iter=1), contamination=contamination, random_state=0
    )
    assert (model.fit_predict(X) == -1).sum() == round(100 * contamination)
    assert set(model.fit_predict(X)) == {-1, 1}


@pytest.mark.slow
def test_rows_that_do_not_fit_are_outliers():
    """Wines whose columns are each another wine's."""
    full, _, _ = wine()
    rng = np.random.default_rng(0)
    shuffled = pd.DataFrame({name: full[name].to_numpy()[rng.permutation(178)] for name in full.columns})
    shuffled["kind"] = pd.Categorical(shuffled["kind"], categories=["a", "b", "c"])
    model = TableAutoencoder(
        SWAETransformer(4, network=GatedMLP((64,)), max_iter=100, device="cpu"), random_state=0
    ).fit(full)
    assert (model.predict(shuffled) == -1).mean() > 0.6
    assert np.median(model.score_samples(shuffled)) < np.percentile(model.score_samples(full), 10)


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 4])
def test_classes(every):
    """Labels, or one in 4 of them: other rows are told right, and rows of a class are drawn."""
    found = load_iris(as_frame=True)
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[found.target]
    y = np.where(np.arange(150) % every == 0, names, None)
    model = TableAutoencoder(
        SWAETransformer(3, network=GatedMLP((32,)), max_iter=100, device="cpu"), random_state=0
    ).fit(found.data, y)
    assert (model.predict_target(found.data) == names).mean() > 0.85
    p = model.predict_target_proba(found.data)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    length = found.data["petal length (cm)"]
    drawn = [model.sample(300, y=name, random_state=0)[length.name].mean() for name in model.classes_]
    assert drawn == sorted(drawn)
    assert drawn[0] + 0.5 < length.mean() < drawn[2] - 0.5
    if every == 1:
        np.testing.assert_allclose(drawn, [length[names == name].mean() for name in model.classes_], atol=0.7)


# ---------------------------------------------------------------------------
# What must not matter
# ---------------------------------------------------------------------------


def test_missing_cells_have_no_influence():
    """A column's missing cells are 0 in the networks' rows, and whatever stood there does not matter."""
    X = people(80)
    model = TableAutoencoder(cheap(SWAETransformer, network=GatedMLP((8,))), random_state=0).fit(X)
    mask = np.random.default_rng(0).random((80, 8)) < 0.3
    other = people(80, seed=1).set_axis(X.index)
    first = X.mask(mask)
    # of extension arrays that keep what is under their mask
    second = X.where(~mask, other).convert_dtypes().mask(mask)
    np.testing.assert_array_equal(model.transform(first), model.transform(second))
    np.testing.assert_array_equal(model.score_samples(first), model.score_samples(second))
    x = model.table_.rows(model.codec_.encode(first))
    columns = model.table_.columns
    values, state = np.split(x, [columns.n_values], axis=1)
    moved = x.copy()
    moved[:, : columns.n_values] = np.where(state[:, columns.owner()] == 0, 7.0, values)
    assert (moved != x).any()
    module = model.estimator_.module_.eval()
    with torch.no_grad():
        codes = [module.encode_x(torch.from_numpy(rows).float()) for rows in (x, moved)]
        output = module.raw_output(codes[0])
        costs = [module.head.cost(torch.from_numpy(rows).float(), output) for rows in (x, moved)]
    assert torch.equal(*codes)
    assert torch.equal(*costs)


def test_hidden_cells_do_not_change_the_cost_of_shown_ones():
    """Training hides cells from the encoder alone: given a code, a row costs what it did."""
    X = people(80)
    model = TableAutoencoder(cheap(VAETransformer, network=GatedMLP((8,))), random_state=0).fit(X)
    x = torch.from_numpy(model.table_.rows(model.codec_.encode(X))).float()
    module = model.estimator_.module_.eval()
    hidden = module.front.with_hidden_cells(x, torch.Generator().manual_seed(0))
    C = model.table_.columns.n_columns
    newly = hidden[:, -C:] != x[:, -C:]
    assert newly.any()
    assert (x[:, -C:][newly] == 1).all()
    with torch.no_grad():
        output = module.raw_output(module.encode_x(x))
        assert torch.equal(module.head.column_costs(hidden, output), module.head.column_costs(x, output))
        assert not torch.equal(module.encode_x(hidden), module.encode_x(x))


@pytest.mark.parametrize("name", ["alone", "fare", "class"])
def test_a_column_of_no_weight_teaches_nothing(name):
    """The decoder's output for it stays that of the untrained network: its cost has no gradient."""
    X = people(80)
    model = TableAutoencoder(
        cheap(AETransformer, network=GatedMLP((8,))), column_weights={name: 0}, random_state=0
    ).fit(X)
    head = model.estimator_.module_.head
    place = model.table_.order.index(list(X.columns).index(name))
    assert head.price[place] == 0
    x = torch.from_numpy(model.table_.rows(model.codec_.encode(X))).float()
    output = torch.zeros(len(x), x.shape[1], requires_grad=True)
    head.cost(x, output).sum().backward()
    own = torch.from_numpy(model.table_.columns.owner()) == place
    assert (output.grad[:, : len(own)][:, own] == 0).all()
    assert (output.grad[:, : len(own)][:, ~own] != 0).any()
