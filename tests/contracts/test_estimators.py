"""What must hold for every estimator: scikit-learn's own checks of its convention, and what a run asks of one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.estimator_checks import estimator_checks_generator

from chainrule.core.card import Card
from chainrule.models import all_cards
from chainrule.nn.fitted import Fitted

# That a tiny number of iterations did not do is said by a warning, which is no failure here.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
CARDS = {
    name: card for name, card in all_cards().items() if isinstance(card.build, type) and hasattr(card.build, "fit")
}


@pytest.fixture(params=CARDS.values(), ids=lambda card: card.name)
def card(request: pytest.FixtureRequest) -> Card:
    test = request.function.__name__.removeprefix("test_")
    if test in request.param.skip:
        pytest.skip(request.param.skip[test])
    return request.param


def test_scikit_learns_checks(card: Card) -> None:
    """All of `check_estimator`; one that the card cannot keep stands in its `skip` by its own name, with the reason."""
    for estimator, check in estimator_checks_generator(card.build(**card.tiny)):
        name = check.func.__name__  # type: ignore[attr-defined]
        if name in card.skip:
            continue
        try:
            check(estimator)
        except pytest.skip.Exception:
            continue
        except Exception as error:
            if type(error).__name__ == "SkipTest":
                continue
            raise AssertionError(f"{card.name} fails {name}: {error}") from error


def rows(card: Card) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator, dtype=torch.float64).abs()  # some kinds take no negative number
    y = (torch.arange(60) % 3).double()
    return x + 2 * torch.nn.functional.one_hot(y.long(), 5), y


def test_state(card: Card) -> None:
    """What was fitted comes back, whatever stood in the module before, and answers the same."""
    x, y = rows(card)
    estimator = card.build(**card.tiny)
    target = y.long() if is_classifier(estimator) else y if is_regressor(estimator) else None
    fitted, other = Fitted(estimator), Fitted(card.build(**card.tiny))
    fitted.fit(x, target)
    other.fit(x[:40], None if target is None else target[:40])
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other(x), fitted(x)) and torch.isfinite(fitted(x)).all()
    fresh = Fitted(card.build(**card.tiny))
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh(x), fitted(x))


def test_rows_by_themselves(card: Card) -> None:
    """What is said of a row does not depend on the rows beside it."""
    x, y = rows(card)
    estimator = card.build(**card.tiny)
    fitted = Fitted(estimator)
    fitted.fit(x, y.long() if is_classifier(estimator) else y if is_regressor(estimator) else None)
    whole = fitted(x)
    torch.testing.assert_close(torch.cat([fitted(x[i : i + 1]) for i in range(10)]), whole[:10], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(fitted(x.flip(0)), whole.flip(0), atol=1e-9, rtol=1e-9)


def test_answers_are_those_of_decide(card: Card) -> None:
    x, y = rows(card)
    estimator = card.build(**card.tiny)
    if not (is_classifier(estimator) or is_regressor(estimator)):
        pytest.skip("it has no predict that decide would rank")
    fitted = Fitted(estimator)
    fitted.fit(x, y.long() if is_classifier(estimator) else y)
    answers = estimator.predict(x.numpy())
    if is_classifier(estimator):
        assert np.array_equal(estimator.classes_[fitted(x).argmax(1).numpy()], answers)
        if getattr(estimator, "probabilistic", False):
            torch.testing.assert_close(
                fitted(x).softmax(1), torch.as_tensor(estimator.predict_proba(x.numpy())), atol=1e-6, rtol=1e-6
            )
    else:
        torch.testing.assert_close(fitted(x), torch.as_tensor(answers), atol=1e-9, rtol=1e-9)
