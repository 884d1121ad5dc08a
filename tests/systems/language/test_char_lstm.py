"""The character model: its equations, the state that is carried, training, answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import chainrule
from chainrule import api
from chainrule.core.device import World
from chainrule.core.errors import Interrupted, UserError
from chainrule.core.task import COMPARED
from chainrule.data.text.characters import Streams, TextSplit, encode
from chainrule.models import get_card
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.run import Run
from chainrule.systems.language.carried_state import CarriedState
from chainrule.systems.language.char_lstm import CharLSTM
from chainrule.systems.language.task import draw

pytestmark = pytest.mark.usefixtures("no_report")

TINY = {
    "characters": 12_000,
    "epochs": 2,
    "batch_size": 8,
    "length": 32,
    "hidden_size": 24,
    "dropout": 0.3,
    "log_every": 10,
    "threads": 1,
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(model: CharLSTM, text: np.ndarray, state: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
    """The equations of Hochreiter and Schmidhuber with Gers' forget gate, a character at a time, in NumPy."""
    weight = {name: p.detach().numpy() for name, p in model.named_parameters()}
    h, c = state[0].copy(), state[1].copy()
    logits = []
    for t in range(text.shape[1]):
        if "embedding.weight" in weight:
            below = weight["embedding.weight"][text[:, t]]
        else:
            below = np.eye(model.vocabulary_size)[text[:, t]]
        for layer in range(model.num_layers):
            gates = below @ weight[f"lstm.weight_ih_l{layer}"].T + h[layer] @ weight[f"lstm.weight_hh_l{layer}"].T
            gates += weight[f"lstm.bias_ih_l{layer}"] + weight[f"lstm.bias_hh_l{layer}"]
            i, f, g, o = np.split(gates, 4, axis=1)
            c[layer] = sigmoid(f) * c[layer] + sigmoid(i) * np.tanh(g)
            h[layer] = below = sigmoid(o) * np.tanh(c[layer])
        logits.append(below @ weight["output.weight"].T + weight["output.bias"])
    return np.stack(logits, 1), h, c


@pytest.mark.parametrize("layers, embedding", [(1, 0), (2, 0), (3, 5)])
def test_the_model_is_its_equations(layers, embedding):
    torch.manual_seed(layers)
    model = CharLSTM(7, 6, layers, embedding, dropout=0.5).double().eval()
    x, h, c = torch.randint(0, 7, (3, 9)), torch.randn(layers, 3, 6).double(), torch.randn(layers, 3, 6).double()
    logits, state = model(x, (h, c))
    for ours, theirs in zip((logits, *state), by_hand(model, x.numpy(), (h.numpy(), c.numpy())), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-12)
    state, steps = (h, c), []
    for t in range(9):
        one, state = model.step(x[:, t], state)
        steps.append(one)
    torch.testing.assert_close(torch.stack(steps, 1), logits, rtol=0, atol=1e-12)


def test_parameters_by_hand_and_the_beginning_of_the_forget_gates():
    model = CharLSTM()
    assert sum(p.numel() for p in model.parameters()) == get_card("char-lstm").parameters
    assert get_card("char-lstm").parameters == 4 * 256 * (65 + 256 + 2) + 4 * 256 * (256 + 256 + 2) + 65 * 257
    for layer in range(2):
        both = getattr(model.lstm, f"bias_ih_l{layer}") + getattr(model.lstm, f"bias_hh_l{layer}")
        assert both.tolist() == [0.0] * 256 + [1.0] * 256 + [0.0] * 512


def test_windows_with_a_carried_state_are_the_unbroken_text_and_gradients_stop_between_them():
    torch.manual_seed(0)
    model = CharLSTM(5, 8).double()
    streams = Streams(torch.randint(0, 5, (81,)), 2, 20)  # two streams of 40 in two windows
    hidden = CarriedState(torch.device("cpu"), streams.mine, 2, World())
    first, second = streams.epoch(0)
    whole, _ = model(torch.cat([first.x, second.x], 1))
    a, state = model(first.x, hidden.before(0, at_beginning=True))
    hidden.after(state)
    carried = hidden.before(1, at_beginning=False)  # in single precision, as a network in it has it
    b, _ = model(second.x, tuple(part.double() for part in carried))
    torch.testing.assert_close(torch.cat([a, b], 1), whole, rtol=0, atol=1e-6)
    cut = model(second.x, tuple(part.detach() for part in state))[0].square().mean()
    ours = torch.autograd.grad(b.square().mean(), list(model.parameters()))
    for mine, truncated in zip(ours, torch.autograd.grad(cut, list(model.parameters())), strict=True):
        torch.testing.assert_close(mine, truncated, rtol=0, atol=1e-7)
    through = model(second.x, state)[0].square().mean()  # with the gradient of the window before, it would differ
    full = torch.autograd.grad(through, model.lstm.weight_hh_l0)[0]
    assert float((full - ours[1]).abs().max()) > 1e-6


def test_carried_state_begins_anew_repeats_a_batch_and_is_saved():
    hidden = CarriedState(torch.device("cpu"), torch.arange(2), 2, World())
    one, two = ((torch.full((1, 2, 3), v, requires_grad=True),) * 2 for v in (1.0, 2.0))
    assert hidden.before(0, at_beginning=True) is None
    hidden.after(one)
    assert torch.equal(hidden.before(1, at_beginning=False)[0], one[0])
    hidden.after(two)
    assert torch.equal(hidden.before(1, at_beginning=False)[0], one[0])  # the same batch again, as the guard does
    saved = hidden.state_dict()
    assert not saved["state"][0].requires_grad
    other = CarriedState(torch.device("cpu"), torch.arange(1, 2), 2, World())  # the second stream's process
    other.load_state_dict(saved)
    assert other.before(2, at_beginning=False)[0].tolist() == [[[2.0] * 3]]
    assert other.before(3, at_beginning=True) is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small model of a text that repeats itself: after its first period every character is certain."""
    folder = tmp_path_factory.mktemp("periodic")
    (folder / "text.txt").write_text("to be or not to be,\n" * 400, encoding="utf-8")
    api.train(
        "char-lstm",
        data=str(folder / "text.txt"),
        out=folder / "run",
        epochs=8,
        batch_size=8,
        length=40,
        hidden_size=32,
        num_layers=1,
        dropout=0.0,
        lr=0.02,
        threads=1,
    )
    return folder / "run"


def test_a_periodic_text_is_learnt(trained):
    metrics = json.loads((trained / "result.json").read_text("utf-8"))["metrics"]
    assert metrics["loss"] < 0.01
    assert metrics["bits_per_char"] == pytest.approx(metrics["loss"] / math.log(2))
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    (continued,) = api.generate(trained, prompt="to be or", length=26, temperature=0.0)
    assert continued["text"] == "to be or not to be,\nto be or not t"
    assert (trained / "samples" / "sample-1.txt").read_text("utf-8") == continued["text"]


def test_predict(trained, tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("to be or not to be,\n" * 3, encoding="utf-8")
    of_file, of_text, one = api.predict(trained, [str(file), "to be or not t", "b"])
    assert max(of_file["next"], key=of_file["next"].get) == "t"
    assert max(of_text["next"], key=of_text["next"].get) == "o"
    assert of_text["characters"] == 14 and of_text["perplexity"] == pytest.approx(math.exp(of_text["loss"]), rel=1e-4)
    assert "loss" not in one and abs(sum(one["next"].values()) - 1) < 0.5
    json.dumps([of_file, of_text, one], allow_nan=False)
    (tmp_path / "texts.csv").write_text("id,text\n7,to be or not t\n", encoding="utf-8")
    (row,) = api.predict(trained, [str(tmp_path / "texts.csv")], top=1)
    assert row["id"] == "7" and row["loss"] == of_text["loss"] and list(row["next"]) == ["o"]


def test_losses_are_those_of_one_unbroken_reading(trained):
    task = Run.load(trained).open_task()
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, len(task.vocabulary), (3001,), generator=generator).to(torch.uint8)
    losses, state = task.read(codes)
    with torch.inference_mode():
        logits, whole = task.model(codes[None, :-1].long())
        expected = torch.nn.functional.cross_entropy(logits[0], codes[1:].long(), reduction="none")
    # three stretches of 1,000: the state that each begins with has forgotten what was more than CONTEXT before
    torch.testing.assert_close(losses, expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(state, whole, rtol=0, atol=1e-3)
    assert task.measure(TextSplit(codes))["loss"] == pytest.approx(float(expected.mean()), abs=1e-4)


def test_generation_is_by_the_seed(trained):
    first = api.generate(trained, count=3, length=60, temperature=1.5, seed=7)
    assert first == api.generate(trained, count=3, length=60, temperature=1.5, seed=7)
    assert first != api.generate(trained, count=3, length=60, temperature=1.5, seed=8)
    assert len({sample["text"] for sample in first}) == 3
    assert all(len(sample["text"]) == 60 for sample in first)


def test_draws_follow_the_softmax_and_the_argmax_is_its_limit():
    logits = torch.tensor([[1.0, 3.0, 2.0]]).expand(20_000, -1)
    generator = torch.Generator().manual_seed(0)
    for temperature in (0.5, 2.0):
        share = torch.bincount(draw(logits, temperature, generator), minlength=3) / len(logits)
        torch.testing.assert_close(share, (logits[0] / temperature).softmax(0), rtol=0, atol=0.012)
    for temperature in (0.0, 1e-12, 1e-300):
        assert bool((draw(logits, temperature, generator) == 1).all())


def test_errors_in_what_is_asked(trained, tmp_path):
    with pytest.raises(UserError, match=r"(?s)the prompt, line 1, column 7.*'q'"):
        api.generate(trained, prompt="to be q")
    with pytest.raises(UserError, match="'temperature'"):
        api.generate(trained, temperature=-1.0)
    with pytest.raises(UserError, match="did you mean 'prompt'"):
        api.generate(trained, promt="to")
    with pytest.raises(UserError, match=r"(?s)there is no such file.*nowhere\.txt"):
        api.predict(trained, ["nowhere.txt"])
    with pytest.raises(UserError, match="an input is empty"):
        api.predict(trained, [""])
    (tmp_path / "other.txt").write_text("to be\nor X", encoding="utf-8")
    with pytest.raises(UserError, match=r"(?s)other\.txt, line 2, column 4.*'X'"):
        api.evaluate(trained, data=str(tmp_path / "other.txt"))
    (tmp_path / "short.txt").write_text("t", encoding="utf-8")
    with pytest.raises(UserError, match="too few characters"):
        api.evaluate(trained, data=str(tmp_path / "short.txt"))
    with pytest.raises(UserError, match=r"(?s)too few characters.*65,537 or more.*cure"):
        chainrule.train("char-lstm", data="pydoc-topics", characters=10_000, batch_size=1024, out=tmp_path / "r")


def test_evaluate_on_other_text(trained, tmp_path):
    (tmp_path / "same.txt").write_text("not to be,\nto be or " * 50, encoding="utf-8")
    (tmp_path / "random.txt").write_text("brtotbe,\nno r" * 50, encoding="utf-8")
    assert api.evaluate(trained, data=str(tmp_path / "same.txt"))["loss"] < 0.2
    assert api.evaluate(trained, data=str(tmp_path / "random.txt"))["loss"] > 2
    own = str(Run.load(trained).record["data"]["source"])
    assert api.evaluate(trained, data=own) == api.evaluate(trained)  # the run's own text: its test split alone


def test_protocol_says_which_split_chose(tmp_path):
    run = api.train("char-lstm", data="pydoc-topics", out=tmp_path / "a", **{**TINY, "epochs": 1})
    protocol = run.result()["protocol"]
    assert "validation split (characters 10,200 to 10,800 of 12,000) chose" in protocol
    assert "test split (characters 10,800 to 12,000 of 12,000) measured once" in protocol
    assert [figure.title for figure in run.task.figures()] == [
        "Where the text surprises",
        "Samples",
        "Where the loss comes from",
    ]
    assert (tmp_path / "a" / "figures" / "sample-epoch-0001.png").is_file()
    run = api.train("char-lstm", data="pydoc-topics", out=tmp_path / "b", **{**TINY, "epochs": 1, "val_fraction": 0})
    assert "the weights are the last epoch's" in run.result()["protocol"]
    assert run.best is None and not (run.folder / "checkpoint" / "best.safetensors").exists()
    last = [line for line in run.log_lines() if "val_loss" in line][-1]
    assert run.result()["metrics"]["loss"] == pytest.approx(last["val_loss"])


def test_figures_of_any_script(tmp_path):
    (tmp_path / "t.txt").write_text("\u5e8a\u524d\u660e\u6708\u5149\tx$y$\u0001\n" * 60, encoding="utf-8")
    run = api.train(
        "char-lstm", data=str(tmp_path / "t.txt"), out=tmp_path / "r", epochs=1, batch_size=2, length=8, hidden_size=8
    )
    for figure in run.task.figures():
        assert figure.table or ElementTree.fromstring(figure.svg).tag.endswith("svg")


def test_a_stop_in_the_middle_of_an_epoch_changes_no_number(tmp_path, monkeypatch):
    whole = api.train("char-lstm", data="pydoc-topics", out=tmp_path / "whole", seed=3, **TINY)
    original = Run._between_steps

    def stop(self: Run, boundary: bool) -> None:
        if self.step == 57:  # in the second epoch of 40 windows
            self._signals.caught = 2
        original(self, boundary)

    monkeypatch.setattr(Run, "_between_steps", stop)
    with pytest.raises(Interrupted):
        api.train("char-lstm", data="pydoc-topics", out=tmp_path / "cut", seed=3, **TINY)
    monkeypatch.undo()
    state = load_tree(next((tmp_path / "cut" / "checkpoint").rglob("state.safetensors")))
    assert float(state["parts"]["hidden"]["state"][0].abs().max()) > 0
    torch.manual_seed(99)
    cut = api.resume(tmp_path / "cut")
    assert cut.result()["metrics"] == whole.result()["metrics"]
    lines = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.log_lines()] for run in (whole, cut)]
    assert lines[0] == lines[1]
    for name, parameter in whole.task.model.state_dict().items():
        assert torch.equal(parameter, cut.task.model.state_dict()[name])


def test_bfloat16_is_used_or_refused_in_words(tmp_path):
    try:
        run = api.train("char-lstm", data="pydoc-topics", out=tmp_path / "r", autocast="yes", **{**TINY, "epochs": 1})
    except UserError as error:
        assert "no LSTM in bfloat16" in str(error) and "autocast=no" in str(error)
    else:
        assert math.isfinite(run.result()["metrics"]["loss"])


def test_the_deployable_step_walks_as_the_model_and_survives_torch_export(trained):
    task = Run.load(trained).open_task()
    deployable = task.deployable()
    text = encode("to be or", task.vocabulary, "here").long().expand(2, -1)
    with torch.inference_mode():
        expected, _ = task.model(text)
        h = c = torch.zeros(2, 1, 32)
        for t in range(text.shape[1]):
            logits, h, c = deployable.module(text[:, t], h, c)
        torch.testing.assert_close(logits, expected[:, -1])
    characters, *states = deployable.own()  # steps of the run's own text: those that the model takes there
    assert len(characters) == COMPARED and characters.tolist() == task.data.test.codes[:COMPARED].tolist()
    with torch.inference_mode():
        own_logits = deployable.module(characters, *states)[0]
        assert torch.allclose(own_logits, task.model(characters[None])[0][0], atol=1e-5)
    batch = torch.export.Dim("batch")
    program = torch.export.export(deployable.module, deployable.inputs(3), dynamic_shapes=({0: batch},) * 3)
    for count in (1, 2, 7):
        inputs = deployable.inputs(count)
        for ours, theirs in zip(program.module()(*inputs), deployable.module(*inputs), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_explain_is_given_the_texts_as_far_as_the_shortest(trained):
    task = Run.load(trained).open_task()
    (x,) = task.prepare(["to be or not", "or not"])["model"]
    assert x.tolist() == [encode(text, task.vocabulary, "here").tolist() for text in ("to be ", "or not")]
