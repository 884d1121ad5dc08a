"""Frechet distance and classifier score against SciPy, closed forms and plain loops; the published score-net."""

from __future__ import annotations

import hashlib
import math
from importlib import resources

import numpy as np
import pytest
import scipy.linalg
import torch

from chainrule.systems.generative.fid import classifier_score, feature_statistics, frechet_distance
from chainrule.systems.generative.score_net import SCORE_NET, DigitScorer, ScoreNet
from tests.conftest import mirror


def covariance(size: int, rank: int, generator: torch.Generator) -> torch.Tensor:
    factor = torch.randn(size, rank, generator=generator, dtype=torch.float64)
    return factor @ factor.T / rank


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance_is_that_of_scipys_matrix_root(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    m1, m2 = torch.randn(2, 12, generator=generator, dtype=torch.float64)
    s1, s2 = covariance(12, 30, generator), covariance(12, 30, generator)
    root = scipy.linalg.sqrtm((s1 @ s2).numpy())
    expected = float((m1 - m2).square().sum()) + np.trace(s1.numpy() + s2.numpy() - 2 * root.real)
    assert float(frechet_distance(m1, s1, m2, s2)) == pytest.approx(expected, rel=1e-9)
    assert float(frechet_distance(m2, s2, m1, s1)) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_gaussians_in_closed_form() -> None:
    deviations1, deviations2 = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 2.0, 0.0])
    mean1, mean2 = torch.tensor([0.0, 1.0, -1.0]), torch.tensor([2.0, 1.0, 0.0])
    # Independent coordinates: (m1 - m2)^2 + (s1 - s2)^2, summed: 4 + 0 + 1 + 4 + 0 + 0.25.
    got = frechet_distance(mean1, deviations1.square().diag(), mean2, deviations2.square().diag())
    assert got.dtype == torch.float64
    assert float(got) == pytest.approx(9.25, abs=1e-12)


def test_frechet_distance_of_degenerate_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    zero, mean = torch.zeros(6, 6), torch.zeros(6)
    assert float(frechet_distance(mean, zero, mean + 2, zero)) == pytest.approx(24)  # two points
    thin = covariance(6, 2, generator)  # rank 2 of 6
    assert float(frechet_distance(mean, thin, mean, thin)) == pytest.approx(0, abs=1e-6)
    assert float(frechet_distance(mean, thin, mean, zero)) == pytest.approx(float(thin.trace()))
    # u u^T against v v^T at a right angle: no overlap, so the traces add; at an angle of cosine c: 2 - 2 |c|.
    u, v = torch.eye(6, dtype=torch.float64)[0], torch.eye(6, dtype=torch.float64)[1]
    assert float(frechet_distance(mean, torch.outer(u, u), mean, torch.outer(v, v))) == pytest.approx(2)
    w = 0.6 * u + 0.8 * v
    assert float(frechet_distance(mean, torch.outer(u, u), mean, torch.outer(w, w))) == pytest.approx(0.8)


def test_feature_statistics_are_numpys() -> None:
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) + 1e3
    mean, cov = feature_statistics(features)
    np.testing.assert_allclose(mean, features.double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(features.double().numpy(), rowvar=False), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="N of 2 or more"):
        feature_statistics(torch.zeros(1, 5))


def test_classifier_score_against_the_sum_written_out() -> None:
    probs = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).softmax(1).double()
    marginal = probs.mean(0)
    divergences = [
        sum(float(p) * math.log(float(p) / float(q)) for p, q in zip(row, marginal, strict=True)) for row in probs
    ]
    assert float(classifier_score(probs.log())) == pytest.approx(math.exp(sum(divergences) / 7), rel=1e-12)


def test_classifier_score_has_its_bounds() -> None:
    sure = torch.eye(10).repeat(3, 1).log()  # log 0 = -inf
    assert float(classifier_score(sure)) == pytest.approx(10)
    assert float(classifier_score(torch.full((30, 10), 0.1).log())) == pytest.approx(1, abs=1e-6)
    assert float(classifier_score(sure[:1].repeat(30, 1))) == pytest.approx(1)  # all of one class: collapse


def test_the_published_score_net_is_what_its_record_says() -> None:
    scorer = DigitScorer()
    content = (resources.files("chainrule.systems.generative") / "assets" / "score-net-mnist.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == scorer.provenance["sha256"]
    assert len(content) < 250_000
    # 16 (9 + 1) + 32 (16 9 + 1) + 48 (32 9 + 1) + 64 (432 + 1) + 10 (64 + 1)
    assert sum(p.numel() for p in scorer.parameters()) == 160 + 4640 + 13872 + 27712 + 650 == SCORE_NET.parameters
    assert not any(p.requires_grad for p in scorer.parameters())


def test_the_scorer_takes_bytes_of_any_size_and_gives_features_and_log_probs() -> None:
    scorer = DigitScorer()
    x = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features, log_probs = scorer(x)
    net = ScoreNet()
    net.load_state_dict(scorer.net.state_dict())
    plain = (x.double() / 255 - scorer.provenance["mean"][0]) / scorer.provenance["std"][0]
    torch.testing.assert_close(log_probs, net(plain.float()).log_softmax(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_probs, net.head(features).log_softmax(1))
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert scorer(large)[0].shape == (3, 64)


def test_the_scorer_reads_real_digits() -> None:
    from chainrule.data.images.published import read_idx

    folder = mirror("mnist")
    x = torch.from_numpy(read_idx(folder / "t10k-images-idx3-ubyte.gz").copy())[:1000, None]
    y = torch.from_numpy(read_idx(folder / "t10k-labels-idx1-ubyte.gz").copy())[:1000]
    assert float((DigitScorer()(x)[1].argmax(1) == y).float().mean()) > 0.975
