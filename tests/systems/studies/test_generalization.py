"""The studies of generalisation: bias and variance, ensembles, dropout, random labels, against closed forms."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre as numpy_legendre
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LinearRegression
from torch import nn

import chainrule
from chainrule.core.errors import UserError
from chainrule.functional.metrics.calibration import expected_calibration_error
from chainrule.nn.dropout import Dropout, monte_carlo
from chainrule.systems.studies.generalization import dropout_averaging, ensemble_bounds, random_labels
from chainrule.systems.studies.generalization.bias_variance_decomposition import (
    bias_variance,
    legendre,
    linear_bias_variance,
)
from chainrule.systems.studies.generalization.dropout_masks import all_masks, arithmetic_mean, geometric_mean
from chainrule.systems.studies.generalization.ensemble_linear import EnsembleLinear
from chainrule.systems.studies.generalization.voting import error_correlation, wrong_majority

pytestmark = pytest.mark.usefixtures("no_report")

DOUBLE = torch.float64


def metrics(recipe: str, folder: Path, **settings: Any) -> dict[str, float]:
    found = chainrule.train(recipe, out=folder / "run", device="cpu", seed=0, **settings).result()
    assert found is not None
    return found["metrics"]


# -- bias and variance ----------------------------------------------------------------------------------------------


def test_bias_and_variance_add_up_to_the_mean_squared_distance() -> None:
    torch.manual_seed(0)
    answers, truth = torch.randn(7, 5, dtype=DOUBLE) + 1e3, torch.randn(5, dtype=DOUBLE) + 1e3
    bias2, variance = bias_variance(answers, truth)
    torch.testing.assert_close(bias2 + variance, (answers - truth).square().mean(0))


def test_bias_estimates_are_unbiased() -> None:
    """Of 40,000 experiments with two models each: bias 1, variance 4."""
    torch.manual_seed(0)
    answers = 3 + 2 * torch.randn(2, 40_000, dtype=DOUBLE)
    bias2, variance = bias_variance(answers, torch.full((40_000,), 2.0, dtype=DOUBLE))
    assert abs(bias2.mean() - 1) < 0.08 and abs(variance.mean() - 4) < 0.12


@pytest.mark.parametrize("degree", [0, 1, 2, 9])
def test_legendre_is_numpys(degree: int) -> None:
    x = torch.linspace(-1, 1, 11, dtype=DOUBLE)
    np.testing.assert_allclose(legendre(x, degree), numpy_legendre.legvander(x.numpy(), degree), atol=1e-14)


def test_the_closed_form_is_that_of_scikit_learns_regression_on_all_noises() -> None:
    """Noise of +-1 at each of six samples: 64 training sets are all there are, so mean and variance are exact."""
    x, grid = torch.linspace(-1, 1, 6, dtype=DOUBLE), torch.linspace(-1, 1, 4, dtype=DOUBLE)
    features, at_grid = legendre(x, 2), legendre(grid, 2)
    bias2, variance = linear_bias_variance(features, x.exp(), at_grid, grid.exp(), 0.25)
    powers, at_powers = (v[:, None].numpy() ** np.arange(1, 3) for v in (x, grid))
    noises = 0.5 * np.array(list(itertools.product((-1.0, 1.0), repeat=6)))
    answers = np.array([LinearRegression().fit(powers, x.exp().numpy() + noise).predict(at_powers) for noise in noises])
    np.testing.assert_allclose(bias2, (answers.mean(0) - grid.exp().numpy()) ** 2, atol=1e-12)
    np.testing.assert_allclose(variance, answers.var(0), atol=1e-12)


def test_variance_of_least_squares_at_its_own_inputs_is_parameters_by_samples() -> None:
    features = legendre(torch.linspace(-1, 1, 20, dtype=DOUBLE), 6)
    _, variance = linear_bias_variance(features, features[:, 0], features, features[:, 0], 2.0)
    assert float(variance.mean()) == pytest.approx(2.0 * 7 / 20)


def test_bias_and_variance_of_the_wrong_shape() -> None:
    one = torch.ones(1, 3)
    with pytest.raises(UserError, match="several models"):
        bias_variance(one, one[0])
    with pytest.raises(UserError, match="different inputs"):
        bias_variance(one.expand(2, 3), one[0, :2])
    with pytest.raises(UserError, match="do not fit"):
        linear_bias_variance(one, one[0], one, one[0], 1.0)
    with pytest.raises(UserError, match="not negative"):
        linear_bias_variance(one, one[0, :1], one, one[0, :1], -1.0)
    with pytest.raises(UserError, match="no negative degree"):
        legendre(one[0], -1)


def test_bias_variance_measured(tmp_path: Path) -> None:
    """The sum is the test error, the closed form is met, bias falls, variance grows, and peaks where samples run out."""
    found = metrics("bias-variance", tmp_path, degrees=(0, 7, 11, 14, 60), hidden=(1, 8), sets=150, steps=200)
    assert found["largest_relative_gap"] < 0.1 and found["largest_gap_to_closed_form"] < 0.25
    assert found["polynomial_best_size"] == 7 and found["polynomial_peak_error"] > 30
    assert found["polynomial_error_largest"] < 0.25, "beyond the peak it descends again"
    assert found["polynomial_variance_smallest"] < 0.01 and found["polynomial_bias2_smallest"] > 0.2
    assert found["net_bias2_largest"] < found["net_bias2_smallest"] / 5
    assert found["net_variance_largest"] > found["net_variance_smallest"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"sets": 1}, "several training sets"), ({"degrees": (-1,)}, "negative degree"), ({"hidden": (0,)}, "one unit")],
)
def test_bias_variance_refuses(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        metrics("bias-variance", tmp_path, **settings)


def test_bias_variance_takes_no_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="makes its own data"):
        metrics("bias-variance", tmp_path, data="digits")


# -- ensembles ------------------------------------------------------------------------------------------------------


def test_votes_and_correlation_against_enumeration_and_numpy() -> None:
    torch.manual_seed(0)
    wrong = torch.rand(5, 400) < torch.rand(400) * 0.6
    expected = [sum(column) >= 3 for column in wrong.T.tolist()]
    assert wrong_majority(wrong).tolist() == expected
    covariance = np.cov(wrong.numpy().astype(float))
    pairs = [covariance[i, j] for i, j in itertools.permutations(range(5), 2)]
    assert error_correlation(wrong) == pytest.approx(np.mean(pairs) / np.mean(np.diag(covariance)))
    share = wrong.double().mean(0).var()  # what the correlation is for
    variance, c = np.mean(np.diag(covariance)), error_correlation(wrong)
    assert float(share) == pytest.approx(variance * (c + (1 - c) / 5))
    assert error_correlation(torch.zeros(3, 4, dtype=torch.bool)) == 0.0


def test_votes_of_the_wrong_shape() -> None:
    with pytest.raises(UserError, match="odd number"):
        wrong_majority(torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(UserError, match="two members"):
        error_correlation(torch.zeros(1, 3))


def test_members_are_linear_layers_of_their_own() -> None:
    torch.manual_seed(0)
    layer, x = EnsembleLinear(3, 4, 2).double(), torch.randn(3, 5, 4, dtype=DOUBLE)
    for m in range(3):
        expected = nn.functional.linear(x[m], layer.weight[m].T, layer.bias[m, 0])
        torch.testing.assert_close(layer(x)[m], expected)
        torch.testing.assert_close(layer(x[0])[m], nn.functional.linear(x[0], layer.weight[m].T, layer.bias[m, 0]))
    assert 0.4 < layer.weight.detach().abs().max() <= 0.5, "uniform in +-1/sqrt(4)"
    with pytest.raises(UserError, match="members and features"):
        EnsembleLinear(0, 4, 2)


@pytest.mark.parametrize("way", list(ensemble_bounds.WAYS))
def test_weights_of_members(way: str) -> None:
    torch.manual_seed(0)
    weights = ensemble_bounds.member_weights(way, 4, 200)
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    used = (weights > 0).double().mean(1)
    if way == "resamples":  # each sample is in with probability 1 - 1/e
        assert (used - (1 - math.exp(-1))).abs().max() < 0.1
    else:
        assert (used == {"starts": 1.0, "parts": 0.25}[way]).all()
    if way == "parts":
        assert ((weights > 0).sum(0) == 1).all()


def test_votes_of_independent_members_follow_the_binomial() -> None:
    """The measuring code itself: members that do err independently give the binomial error, and no correlation."""
    torch.manual_seed(0)
    target = torch.rand(20_000) < 0.5
    wrong = torch.rand(11, 20_000) < 0.3
    row = ensemble_bounds.measure_votes((target ^ wrong).double(), target, [1, 3, 11])
    assert row["errors"][0] == pytest.approx(0.3, abs=0.02) and abs(row["correlation"]) < 0.01
    np.testing.assert_allclose(row["errors"], row["binomial"], rtol=0.08)
    np.testing.assert_allclose(row["binomial"], [stats.binom.sf(m // 2, m, row["mean_error"]) for m in (1, 3, 11)])
    assert row["hoeffding_bound"] == pytest.approx(math.exp(-11 * (1 - 2 * row["mean_error"]) ** 2 / 2))
    assert row["mean_square_error"] - row["ambiguity"] == pytest.approx(row["square_error"])
    worse = ensemble_bounds.measure_votes((~target ^ wrong).double(), target, [1, 3, 11])
    assert worse["hoeffding_bound"] == 1.0 and worse["vote_error"] > worse["mean_error"] > 0.5, "a vote makes it worse"


def test_ensemble_bounds_measured(tmp_path: Path) -> None:
    found = metrics("ensemble-bounds", tmp_path, members=11, samples=400, steps=120)
    for way in ensemble_bounds.WAYS:
        assert found[f"binomial_error_{way}"] < found[f"vote_error_{way}"] < found[f"mean_error_{way}"]
        assert found[f"correlation_{way}"] > 0.1
    assert found["correlation_parts"] < found["correlation_starts"]
    assert found["mean_error_parts"] > found["mean_error_starts"], "less data, weaker members"
    assert found["largest_gap_of_ambiguity"] < 1e-12
    assert found["regression_mean_error"] / 11 < found["regression_error_of_mean"] < found["regression_mean_error"]
    with pytest.raises(UserError, match="odd number"):
        metrics("ensemble-bounds", tmp_path / "even", members=4)


def test_figures_where_nothing_erred() -> None:
    """Logarithmic axes without a point that they could show."""
    right = torch.ones(3, 4, dtype=torch.bool)
    votes = {**ensemble_bounds.measure_votes(right.double(), right[0], [1, 3]), "members": "starts"}
    assert votes["vote_error"] == votes["binomial_error"] == votes["correlation"] == 0.0
    assert len(ensemble_bounds.draw([votes, {**votes, "members": "regressors"}])) == 3


# -- dropout --------------------------------------------------------------------------------------------------------


def test_masks_are_all_and_their_mean_is_one() -> None:
    masks, probabilities = all_masks(5, 0.3)
    assert len({tuple(mask) for mask in masks.tolist()}) == 32
    assert float(probabilities.sum()) == pytest.approx(1)
    torch.testing.assert_close(probabilities @ masks, torch.ones(5, dtype=DOUBLE))
    kept = (masks > 0).sum(1)
    for k in range(6):
        assert float(probabilities[kept == k].sum()) == pytest.approx(stats.binom.pmf(k, 5, 0.7))


def test_the_expectation_of_a_linear_net_is_its_pass_without_dropout() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 6), Dropout(0.4), nn.Linear(6, 2)).double().eval()
    x = torch.randn(4, 3, dtype=DOUBLE)
    masks, probabilities = all_masks(6, 0.4)
    answers = torch.stack([network[2](network[0](x) * mask) for mask in masks])
    torch.testing.assert_close(torch.tensordot(probabilities, answers, 1), network(x))


@pytest.mark.parametrize("layers", [1, 2])
def test_enumeration_and_the_geometric_mean(layers: int) -> None:
    """Before a softmax layer alone the geometric mean is the scaled pass; with two layers of masks it is not."""
    torch.manual_seed(0)
    network = dropout_averaging.perceptron(5, 8 // layers, layers, 3, 0.3).double().eval()
    for part in network:
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight)
    x = torch.randn(6, 5, dtype=DOUBLE)
    network.requires_grad_(False)
    log_probs, weights = dropout_averaging.enumerate_masks(network, x, 0.3)
    assert log_probs.shape == (256, 6, 3)
    gap = dropout_averaging.distance(network(x).log_softmax(1), geometric_mean(log_probs, weights))
    assert (gap < 1e-14) == (layers == 1) and gap < 0.2
    # the masks of enumeration are those that dropout draws: their mean is the mean over many draws
    drawn = monte_carlo(network, x, 5_000).log_softmax(-1)
    sampled = arithmetic_mean(drawn, drawn.new_full((5_000,), 1 / 5_000))
    assert dropout_averaging.distance(sampled, arithmetic_mean(log_probs, weights)) < 0.02


def test_means_of_distributions_with_large_offsets() -> None:
    torch.manual_seed(0)
    probs, weights = torch.rand(4, 2, 3, dtype=DOUBLE).softmax(-1), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=DOUBLE)
    product = (probs ** weights[:, None, None]).prod(0)
    torch.testing.assert_close(geometric_mean(probs.log(), weights).exp(), product / product.sum(-1, keepdim=True))
    torch.testing.assert_close(arithmetic_mean(probs.log(), weights).exp(), (weights[:, None, None] * probs).sum(0))
    extreme = torch.tensor([[[0.0, -2000.0]], [[-2000.0, 0.0]]], dtype=DOUBLE)
    half = torch.full((2,), 0.5, dtype=DOUBLE)
    torch.testing.assert_close(geometric_mean(extreme, half).exp(), torch.tensor([[0.5, 0.5]], dtype=DOUBLE))
    torch.testing.assert_close(arithmetic_mean(extreme, half).exp(), torch.tensor([[0.5, 0.5]], dtype=DOUBLE))


def test_calibration_against_scikit_learn() -> None:
    torch.manual_seed(0)
    sure = 0.5 + torch.rand(3000, dtype=DOUBLE) / 2
    right = torch.rand(3000) < 0.7
    probs = torch.stack([sure, 1 - sure], 1)
    bins = 10
    accuracy, confidence = calibration_curve(right.numpy(), sure.numpy(), n_bins=bins)
    count = np.histogram(sure.numpy(), np.linspace(0, 1, bins + 1))[0]
    expected = (count[count > 0] / 3000 * np.abs(accuracy - confidence)).sum()
    assert float(expected_calibration_error(probs, (~right).long(), bins)) == pytest.approx(expected)
    edge = torch.tensor([[0.5, 0.5], [0.625, 0.375]])  # 0.5 belongs to the lower bin: (|0 - 0.5| + |1 - 0.625|) / 2
    assert float(expected_calibration_error(edge, torch.tensor([1, 0]), 2)) == 0.4375
    one = torch.tensor([[1.0, 0.0]])
    assert float(expected_calibration_error(one, torch.tensor([1]))) == 1.0


def test_dropout_functions_refuse() -> None:
    with pytest.raises(UserError, match="not all masks"):
        all_masks(21, 0.5)
    with pytest.raises(UserError, match="out of range"):
        all_masks(2, 1.0)
    with pytest.raises(UserError, match="needs a weight"):
        geometric_mean(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(UserError, match="needs a weight"):
        arithmetic_mean(torch.zeros(3), torch.zeros(3))
    with pytest.raises(UserError, match="target for each row"):
        expected_calibration_error(torch.zeros(0, 3), torch.zeros(0))
    with pytest.raises(UserError, match="a bin"):
        expected_calibration_error(torch.ones(1, 1), torch.zeros(1), 0)


def test_dropout_measured(tmp_path: Path) -> None:
    found = metrics("dropout-averaging", tmp_path, rates=(0.5,), hidden=64, enumerated=8, draws=50, steps=250)
    assert found["one_layer_geometric_gap"] < 1e-12 < 1e-3 < found["two_layer_geometric_gap"]
    assert found["one_layer_arithmetic_gap"] > 0.01
    assert found["rate_50_scaled_error"] < 0.08 and found["rate_50_mean_error"] < 0.08
    assert found["rate_50_single_error"] > found["rate_50_mean_error"] + 0.01
    for settings, words in (({"rates": (1.0,)}, "a rate"), ({"enumerated": 5}, "enumerated units")):
        with pytest.raises(UserError, match=words):
            metrics("dropout-averaging", tmp_path / words.replace(" ", ""), **settings)


def test_more_masks_are_groups_of_the_same_draws() -> None:
    torch.manual_seed(0)
    log_probs, y = torch.randn(5, 7, 3, dtype=DOUBLE).log_softmax(-1), torch.randint(3, (7,))
    found = dropout_averaging.over_samples(log_probs, y)
    assert found["counts"] == [1, 2, 3, 5]
    singles = [float((part.argmax(1) != y).double().mean()) for part in log_probs]
    assert found["sampled_error"][0] == pytest.approx(np.mean(singles))
    pair = [nn.functional.nll_loss(log_probs[i : i + 2].exp().mean(0).log(), y) for i in (0, 2)]
    assert found["sampled_nll_nats"][1] == pytest.approx(float(sum(pair)) / 2), "a fifth draw makes no pair"


# -- random labels --------------------------------------------------------------------------------------------------


def test_corruption_draws_from_all_classes() -> None:
    torch.manual_seed(0)
    y = torch.arange(10).repeat(2000)
    assert torch.equal(random_labels.corrupted(y, 0.0, 10), y)
    changed = (random_labels.corrupted(y, 0.5, 10) != y).double().mean()
    assert float(changed) == pytest.approx(0.45, abs=0.02), "half are replaced, a tenth of them by themselves"
    everything = random_labels.corrupted(y, 1.0, 10)
    joint = torch.bincount(y * 10 + everything, minlength=100).numpy()
    assert stats.chisquare(joint).pvalue > 1e-3, "random labels say nothing of the true ones"


def test_disorder_of_pixels() -> None:
    torch.manual_seed(0)
    x, order = torch.randn(50, 30) + 5, torch.randperm(30)
    shuffled, scattered, noise = (random_labels.disordered(x, kind, order) for kind in random_labels.PIXELS)
    assert torch.equal(shuffled, x[:, order]) and torch.equal(random_labels.disordered(x, "as they are", order), x)
    assert torch.equal(scattered.sort(1)[0], x.sort(1)[0]) and not torch.equal(scattered, x)
    places = (scattered[:, :, None] == x[:, None, :]).int().argmax(2)
    assert len({tuple(row) for row in places.tolist()}) == 50, "each row has an order of its own"
    assert float(noise.mean()) == pytest.approx(5, abs=0.1) and float(noise.std()) == pytest.approx(
        float(x.std()), abs=0.1
    )


def test_random_labels_measured(tmp_path: Path) -> None:
    found = metrics("random-labels", tmp_path, corruptions=(0.0, 1.0), hidden=256, samples=300, epochs=200)
    assert found["share_fitted"] == 1.0 and found["random_labels_train_error"] == 0.0
    assert found["true_labels_test_error"] < 0.12 and found["shuffled_pixels_test_error"] < 0.15
    assert found["random_labels_test_error"] > 0.8 and found["noise_test_error"] > 0.8
    assert found["random_labels_epochs_to_fit"] > 2 * found["true_labels_epochs_to_fit"]
    with pytest.raises(UserError, match="a share of labels"):
        metrics("random-labels", tmp_path / "wrong", corruptions=(1.5,))
