"""The mixture of Gaussians against scikit-learn and SciPy, its degenerate cases, and the recipe as a user runs it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Reference
from torch import Tensor

import chainrule
from chainrule import api
from chainrule.core.answers import flat
from chainrule.core.errors import RunFailed, UserError
from chainrule.functional.kmeans import kmeans
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.run import Run
from chainrule.systems.graphical.gaussian_mixture import GaussianMixture

pytestmark = pytest.mark.usefixtures("no_report")

KINDS = ("full", "tied", "diagonal", "spherical")


def table(name: str) -> Tensor:
    """Standardised columns of a real table, or random rows that are correlated and far from 0."""
    if name == "random":
        random = np.random.default_rng(0)
        x = random.normal(size=(400, 4)) @ random.normal(size=(4, 4)) + 50.0
        return torch.from_numpy(x + 4 * random.integers(3, size=(400, 1)))
    x = {"iris": load_iris, "wine": load_wine, "digits": load_digits}[name]().data
    x = x[:700]  # of digits, for speed
    x = x[:, x.std(0) > 0]
    return torch.from_numpy((x - x.mean(0)) / x.std(0))


def started(x: Tensor, K: int, kind: Any, seed: int = 0, reg_covar: float = 1e-6) -> GaussianMixture:
    mixture = GaussianMixture(K, x.shape[1], kind, reg_covar)
    mixture.start(x, K, torch.Generator().manual_seed(seed))
    return mixture


def reference(x: Tensor, mixture: GaussianMixture, iterations: int) -> Reference:
    """scikit-learn's estimate from the same start."""
    kind: Any = {"diagonal": "diag"}.get(mixture.covariance, mixture.covariance)
    U = mixture.precision_cholesky
    precisions = U @ U.mT if U.dim() > 1 and U.shape[-1] == U.shape[-2] and kind in ("full", "tied") else U.square()
    found = Reference(
        mixture.num_components,
        covariance_type=kind,
        reg_covar=mixture.reg_covar,
        tol=0.0,
        max_iter=iterations,
        weights_init=mixture.weights.numpy(),
        means_init=mixture.means.numpy(),
        precisions_init=precisions.numpy(),
    )
    with pytest.warns(ConvergenceWarning):
        return found.fit(x.numpy())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "K"), [("iris", 3), ("wine", 3), ("digits", 4), ("random", 5)])
def test_em_is_that_of_scikit_learn(name: str, K: int, kind: str) -> None:
    x = table(name)
    mixture = started(x, K, kind)
    oracle = reference(x, mixture, iterations=8)
    for _ in range(8):
        statistics = mixture.expectation(x)
        mixture.maximisation(statistics)
    assert float(statistics.log_likelihood) == pytest.approx(oracle.lower_bound_, abs=1e-6)
    np.testing.assert_allclose(mixture.weights, oracle.weights_, atol=1e-6)
    np.testing.assert_allclose(mixture.means, oracle.means_, atol=1e-6)
    np.testing.assert_allclose(mixture.covariances, oracle.covariances_, atol=1e-6)
    assert mixture.num_parameters == oracle._n_parameters()
    assert mixture.bic(x) == pytest.approx(oracle.bic(x.numpy()), abs=1e-4)
    assert mixture.aic(x) == pytest.approx(oracle.aic(x.numpy()), abs=1e-4)
    np.testing.assert_allclose(mixture.responsibilities(x), oracle.predict_proba(x.numpy()), atol=1e-6)


def random_mixture(K: int, D: int, kind: Any) -> GaussianMixture:
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(K, D, D, generator=generator).double()
    matrices = A @ A.mT + torch.eye(D)
    variances = matrices.diagonal(dim1=1, dim2=2)
    covariances = {"full": matrices, "tied": matrices[0], "diagonal": variances, "spherical": variances[:, 0]}[kind]
    mixture = GaussianMixture(K, D, kind)
    mixture.update(torch.linspace(1, 2, K).softmax(0), torch.randn(K, D, generator=generator), covariances)
    return mixture


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("D", [1, 3])
def test_log_prob_is_that_of_scipy(kind: str, D: int) -> None:
    mixture = random_mixture(4, D, kind)
    x = torch.randn(50, D).double() * 3
    parts = zip(mixture.weights.tolist(), mixture.means, mixture.covariance_matrices(), strict=True)
    density = sum(w * multivariate_normal(m.numpy(), c.numpy()).pdf(x.numpy()) for w, m, c in parts)
    np.testing.assert_allclose(mixture.log_prob(x), np.log(density).reshape(-1), atol=1e-10)
    np.testing.assert_allclose(mixture(x.float()), mixture.log_prob(x), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments_of_the_mixture(kind: str) -> None:
    mixture = random_mixture(3, 2, kind)
    x, component = mixture.sample(200_000, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(torch.bincount(component) / len(x), mixture.weights, atol=5e-3)
    for k, covariance in enumerate(mixture.covariance_matrices()):
        own = x[component == k]
        np.testing.assert_allclose(own.mean(0), mixture.means[k], atol=0.05)
        np.testing.assert_allclose(own.T.cov(), covariance, rtol=0.03, atol=0.08)
    again, _ = mixture.sample(10, torch.Generator().manual_seed(0))
    assert torch.equal(again, mixture.sample(10, torch.Generator().manual_seed(0))[0])


def plain_expectation(mixture: GaussianMixture, x: Tensor) -> tuple[Tensor, ...]:
    """The E-step and its moments as the textbook has them (Bishop 9.23 to 9.26), for full covariances."""
    joint = torch.stack(
        [
            w.log() + torch.distributions.MultivariateNormal(m, c).log_prob(x)
            for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
        ],
        1,
    )
    r = joint.softmax(1)
    means = (r.T @ x) / r.sum(0)[:, None]
    centred = x - means[:, None]
    covariances = torch.einsum("nk,kni,knj->kij", r, centred, centred) / r.sum(0)[:, None, None]
    return joint.logsumexp(1).mean(), r.sum(0), means, covariances


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_both_forms_of_the_e_step_are_the_plain_one(
    products: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = table("random")
    mixture = started(x, 5, "full")
    mixture.maximisation(mixture.expectation(x))
    monkeypatch.setattr(mixture, "_products_pay", lambda dtype: products)
    monkeypatch.setattr(
        "chainrule.systems.graphical.gaussian_mixture.BLOCK_ELEMENTS", 3000
    )  # many blocks, the last short
    found = mixture.expectation(x.to(dtype))
    tolerance = 1e-9 if dtype == torch.float64 else 2e-3
    for ours, plain in zip(found, plain_expectation(mixture, x), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=tolerance, atol=tolerance)
        assert ours.dtype == torch.float64


def test_float32_finds_the_likelihood_of_float64() -> None:
    x = table("iris")
    likelihoods = []
    for dtype in (torch.float64, torch.float32):
        mixture = started(x, 3, "full", reg_covar=1e-3)
        for _ in range(15):
            mixture.maximisation(mixture.expectation(x.to(dtype)))
        likelihoods.append(float(mixture.log_prob(x).mean()))
    assert likelihoods[1] == pytest.approx(likelihoods[0], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_far_from_zero(kind: str) -> None:
    """Two clusters of deviation 0.3 that lie 10,000 apart, and 100,000 from 0: the same rows in float32 and float64."""
    random = np.random.default_rng(0)
    near = random.normal(size=(300, 2)) * 0.3 + [0.0, 1e5]
    x = torch.from_numpy(np.concatenate([near, near[:200] + np.array([9999.0, 3.0])]).astype(np.float32))
    found = []
    for dtype in (torch.float64, torch.float32):
        mixture = started(x.to(dtype), 2, kind, reg_covar=1e-4)
        for _ in range(5):
            statistics = mixture.expectation(x.to(dtype))
            mixture.maximisation(statistics)
        order = mixture.means[:, 0].argsort()
        matrices = mixture.covariance_matrices()[order]
        found.append(
            (float(statistics.log_likelihood), mixture.means[order], matrices, float(mixture.log_prob(x).mean()))
        )
    for wide, narrow in zip(*found, strict=True):
        np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-5)
    assert found[1][2].diagonal(dim1=1, dim2=2).numpy() == pytest.approx(0.09, rel=0.3)


def test_products_are_left_where_they_would_cancel() -> None:
    x = table("random")
    assert started(x, 5, "full")._products_pay(torch.float64)
    thin = torch.cat([x, x[:, :1] + 1e-5 * torch.randn(len(x), 1, generator=torch.Generator().manual_seed(0))], 1)
    mixture = started(thin, 5, "full", reg_covar=0.0)
    assert not mixture._products_pay(torch.float64)
    oracle = reference(thin, mixture, iterations=5)
    for _ in range(5):
        statistics = mixture.expectation(thin)
        mixture.maximisation(statistics)
    assert float(statistics.log_likelihood) == pytest.approx(oracle.lower_bound_, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_em_never_decreases_the_likelihood(kind: str) -> None:
    x = table("iris")
    mixture = started(x, 4, kind, seed=2, reg_covar=0.0)
    trace = []
    for _ in range(30):
        statistics = mixture.expectation(x)
        mixture.maximisation(statistics)
        trace.append(float(statistics.log_likelihood))
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(trace))
    assert trace[-1] > trace[0] + 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("D", [1, 4])
def test_one_component_is_the_closed_form(kind: str, D: int) -> None:
    x = table("random")[:, :D]
    mixture = started(x, 1, kind, reg_covar=0.0)
    mixture.maximisation(mixture.expectation(x))
    matrix = x.T.cov(correction=0).reshape(D, D)
    expected = {
        "full": matrix,
        "tied": matrix,
        "diagonal": matrix.diag().diag(),
        "spherical": torch.eye(D) * matrix.diag().mean(),
    }[kind]
    np.testing.assert_allclose(mixture.means[0], x.mean(0), atol=1e-10)
    np.testing.assert_allclose(mixture.covariance_matrices()[0], expected, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("products", [True, False])
def test_a_component_without_samples_gets_weight_zero(kind: str, products: bool, monkeypatch: Any) -> None:
    x = table("iris")
    mixture = started(x, 3, kind)
    monkeypatch.setattr(mixture, "_products_pay", lambda dtype: products)
    far = mixture.means.clone()
    far[1] = 1e4
    mixture.update(mixture.weights, far, mixture.covariances)
    for _ in range(3):
        mixture.maximisation(mixture.expectation(x))
    assert mixture.weights[1] == 0.0
    assert torch.equal(mixture.means[1], far[1])
    assert torch.isfinite(mixture.log_prob(x)).all()
    assert float(mixture.weights.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_singular_covariance_is_told_in_words(kind: str) -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [5.0, 5.0], [5.0, 5.0]]).double()
    with pytest.raises(
        RunFailed, match=r"covariance of (all components|component 0) is not positive definite[\s\S]*larger reg_covar"
    ):
        started(x, 2, kind, reg_covar=0.0)
    assert torch.isfinite(started(x, 2, kind).log_prob(x)).all()
    with pytest.raises(RunFailed, match="component 1"):
        mixture = random_mixture(2, 2, "full")
        mixture.update(mixture.weights, mixture.means, torch.stack([torch.eye(2), torch.zeros(2, 2)]))


def test_too_few_samples() -> None:
    with pytest.raises(UserError, match="fewer samples than clusters"):
        started(torch.zeros(2, 1).double(), 3, "full")
    with pytest.raises(UserError, match="fewer distinct samples"):
        started(torch.tensor([[0.0], [0.0], [1.0]]).double(), 3, "full")


def test_kmeans_finds_clusters_that_are_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]])
    label = torch.randint(4, (400,), generator=generator)
    x = truth[label] + torch.randn(400, 2, generator=generator)
    centres, labels = kmeans(x, 4, torch.Generator().manual_seed(1))
    for k in range(4):
        own = labels[label == k]
        assert (own == own[0]).all()
        torch.testing.assert_close(centres[own[0]], x[label == k].mean(0))


def test_a_state_of_other_size_is_taken_over() -> None:
    for kind in KINDS:
        saved, fresh = random_mixture(5, 3, kind), GaussianMixture(2, 3, kind)
        fresh.load_state_dict(saved.state_dict())
        x = torch.randn(7, 3)
        assert torch.equal(fresh(x), saved(x))
        assert fresh.num_components == 5
        with pytest.raises(RuntimeError, match="size mismatch"):
            GaussianMixture(2, 4, kind).load_state_dict(saved.state_dict())


# -- the recipe --------------------------------------------------------------------------------------------------


def numbers(folder: Path) -> tuple[list[dict[str, Any]], Any]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
    return lines, load_tree(folder / "checkpoint" / "best.safetensors")["model"]


def train(out: str, **settings: Any) -> Run:
    return chainrule.train("gaussian-mixture", out=out, device="cpu", **settings)


def test_a_search_finds_the_number_of_components_and_resumes_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    centres = np.array([[0, 0], [8, 0], [0, 8]])
    np.savez("three.npz", x=centres[random.integers(3, size=400)] + random.normal(size=(400, 2)))
    settings: dict[str, Any] = {
        "data": "three.npz",
        "components": 1,
        "components_to": 4,
        "restarts": 2,
        "checkpoint_s": 0.0,
        "threads": 1,
    }
    whole = train("whole", **settings)
    result = whole.result()
    assert result is not None
    assert result["metrics"]["components"] == 3
    assert result["chosen"]["metric"] == "bic"
    assert "Bayesian information criterion on the training split chose among 1 to 4" in result["protocol"]
    assert result["parameters"] == 3 * 3 + 3 * 2 + 2
    expected, weights = numbers(Path("whole"))
    steps = result["steps"]
    plain = GaussianMixture.maximisation
    for stop in (steps // 2, steps - 1):  # in the middle of the search, in the last start
        calls = itertools.count()

        def stopping(self: Any, statistics: Any, calls: Any = calls, stop: int = stop) -> None:
            if torch.any(statistics.log_likelihood != 0) and next(calls) == stop:  # 0: the M-step of a start
                raise ZeroDivisionError
            plain(self, statistics)

        monkeypatch.setattr(GaussianMixture, "maximisation", stopping)
        with pytest.raises(ZeroDivisionError):
            train(f"stopped{stop}", **settings)
        monkeypatch.setattr(GaussianMixture, "maximisation", plain)
        torch.manual_seed(99)
        chainrule.resume(f"stopped{stop}")
        lines, again = numbers(Path(f"stopped{stop}"))
        assert lines == expected
        assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_digits_by_default_is_scikit_learns_density() -> None:
    run = train("run", max_iterations=5, tolerance=0.0)
    task: Any = run.open_task()
    x, test = task.data.train.x, task.data.test.x
    mixture = started(x, 10, "full", seed=0, reg_covar=1e-3)
    oracle = reference(x, mixture, iterations=5)
    metrics = task.evaluate()
    assert metrics["nll_nats"] == pytest.approx(-oracle.score(test.numpy()), abs=1e-6)
    assert metrics["bic"] == pytest.approx(oracle.bic(test.numpy()), abs=1e-3)
    assert [figure.title for figure in task.figures()] == [
        "Components over the training rows",
        "Means",
        "Components and classes",
    ]
    samples = api.generate("run", count=5, seed=1)
    assert len(samples) == 5
    assert len(samples[0]) == 65
    assert Path("run/samples/samples.png").read_bytes()[:4] == b"\x89PNG"
    assert np.loadtxt("run/samples/samples.csv", delimiter=",", skiprows=1).shape == (5, 64)
    assert samples == api.generate("run", count=5, seed=1)


def test_iris_answers_without_its_data_and_exports() -> None:
    run = train("run", data="iris", components=2, components_to=3, choose="validation", reg_covar=1e-3)
    result = run.result()
    assert result is not None
    assert "density of the validation split" in result["protocol"]
    task: Any = run.open_task()
    answers = api.predict("run", ["5.1,3.5,1.4,0.2", "6.5,3,5.5,2"])
    assert answers[0]["component"] != answers[1]["component"]
    shares = answers[0]["responsibilities"]
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5) and len(shares) == task.model.num_components
    assert answers[0]["responsibility"] == max(shares.values()) == shares[str(answers[0]["component"])]
    assert list(flat(answers[0]))[-len(shares) :] == [f"responsibility_{k}" for k in range(len(shares))]
    x = torch.from_numpy(load_iris().data[:1])
    standard = (x - torch.tensor(task.data.spec.mean)) / torch.tensor(task.data.spec.std)
    assert answers[0]["log_density_nats"] == pytest.approx(float(task.model.log_prob(standard)), abs=1e-4)
    log_scale = result["metrics"]["nll_nats_in_units"] - result["metrics"]["nll_nats"]
    assert log_scale == pytest.approx(float(np.log(task.data.spec.std).sum()))
    titles = {figure.title for figure in task.figures()}
    assert "Choice of the number of components" in titles
    other = api.evaluate("run", data="iris")
    assert other["nll_nats"] == pytest.approx(result["metrics"]["nll_nats"], abs=1.0)
    with pytest.raises(UserError, match="lacks columns"):
        api.evaluate("run", data="wine")


@pytest.mark.parametrize("kind", ["full", "spherical"])
def test_onnx_agrees_at_several_batch_sizes(kind: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run = train("run", data="wine", components=3, covariance=kind, max_iterations=3)
    task: Any = run.open_task()
    deployable = task.deployable()
    assert api.export("run", "onnx")["batches"] == [1, 2, 7]
    session = onnxruntime.InferenceSession("run/export/model.onnx")
    for count in (1, 2, 7):
        rows = deployable.inputs(count)
        expected = deployable.module(*rows)
        for ours, theirs in zip(expected, session.run(None, {"rows": rows[0].numpy()}), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)
    typed = ",".join(repr(float(v)) for v in rows[0][0].tolist())
    assert next(task.predict([typed], None))["log_density_nats"] == pytest.approx(float(expected[0][0]), rel=1e-5)


def test_one_column() -> None:
    Path("one.csv").write_text("v\n" + "".join(f"{i % 7 + 10 * (i % 2)}\n" for i in range(60)))
    run = train("run", data="one.csv", components=2)
    assert "<svg" in (run.open_task().figures()[0].svg or "")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"components": 4, "components_to": 2}, "components_to is below components"),
        ({"data": "iris", "components": 109}, "fewer training rows than components"),
        ({"data": "iris", "choose": "validation", "val_fraction": 0.0}, "no validation split"),
        ({"drop_constant": False}, "drop_constant=yes"),
        ({"covariance": "ful"}, "full or tied or diagonal or spherical"),
        ({"component": 3}, "did you mean 'components'"),
    ],
)
def test_mistakes_are_told_before_the_first_step(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        train("run", **settings)


def test_weights_to_start_from() -> None:
    train("first", data="iris", components=3)
    import safetensors.torch

    state = load_tree(Path("first/checkpoint/best.safetensors"))["model"]
    safetensors.torch.save_file(state, "start.safetensors")
    again = train("again", data="iris", components=3, weights="start.safetensors", max_iterations=1)
    first = Run.load("first").log_lines()
    last = [line["log_likelihood"] for line in first if "log_likelihood" in line][-1]
    assert again.log_lines()[0]["log_likelihood"] == pytest.approx(last, abs=1e-3)
    with pytest.raises(UserError, match="another number of components"):
        train("other", data="iris", components=4, weights="start.safetensors")
