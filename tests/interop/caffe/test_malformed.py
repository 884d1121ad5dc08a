"""Descriptions that are nearly right, made by a fixed seed: each becomes a network or is told; none crashes or hangs."""

from __future__ import annotations

import random
import re

import torch

from chainrule.core.errors import UserError
from chainrule.interop.caffe.net import parse_net
from chainrule.interop.caffe.solver import parse_solver
from tests.interop.caffe import descriptions
from tests.interop.caffe.test_layers import CASES
from tests.interop.caffe.test_net import BRANCHED

ODD = (
    "-1",
    "0",
    "2",
    "4294967295",
    "1e30",
    "nan",
    "inf",
    "-inf",
    "0.5",
    '"x"',
    "true",
    "FULL",
    "9223372036854775807",
    "{ }",
)
WORDS = re.compile(r'"[^"]*"|[\w.+-]+|[{}:\[\],]')


def cases() -> list[str]:
    """One description a type of layer, and a branched one and a deep one."""
    found = [BRANCHED, descriptions.alexnet("caffe", size=67, width=1 / 16, classes=3)]
    for name, (settings, inputs, _) in CASES.items():
        shapes = [" ".join(f"dim: {d}" for d in x.shape) for x in inputs]
        ends = " ".join(f'bottom: "{"abc"[i]}"' for i in range(len(shapes)))
        found.append(
            "\n".join(f'input: "{"abc"[i]}" input_shape {{ {dims} }}' for i, dims in enumerate(shapes))
            + f'\nlayer {{ name: "it" type: "{name.split()[0]}" {ends} top: "y" {settings} }}'
        )
    return found


def mutated(text: str, draw: random.Random) -> str:
    """With one or two words deleted, doubled, exchanged, made odd, or nested deep."""
    words = WORDS.findall(text)
    for _ in range(draw.randint(1, 2)):
        at = draw.randrange(len(words))
        match draw.randrange(9):
            case 0:
                del words[at]
            case 1:
                words.insert(at, words[at])
            case 2:
                other = draw.randrange(len(words))
                words[at], words[other] = words[other], words[at]
            case 3:
                words.insert(at, "layer { " * 2000)
            case _:  # a number, more often than not
                numbers = [i for i, word in enumerate(words) if re.fullmatch(r"[\d.]+", word)]
                odd = draw.choice(ODD) if draw.random() < 0.5 else str(draw.randint(1, 3))
                words[draw.choice(numbers) if numbers else at] = odd
    return " ".join(words)


def test_what_is_nearly_right_is_a_network_or_told() -> None:
    draw = random.Random(0)
    built = told = 0
    texts = cases()
    for text in texts:
        with torch.device("meta"):  # no memory for weights
            parse_net(text, "TRAIN")
    for number in range(400):
        text = mutated(texts[number % len(texts)], draw)
        try:
            with torch.device("meta"):
                parse_net(text, "TRAIN")
            built += 1
        except UserError as error:
            assert str(error).strip(), text
            told += 1
    assert min(built, told) > 40, (built, told)


def test_what_is_nearly_right_is_a_solver_or_told() -> None:
    draw, built, told = random.Random(0), 0, 0
    module = torch.nn.Linear(1, 1)
    for _ in range(100):
        text = (
            "base_lr: 0.1 max_iter: 10 iter_size: 2 momentum: 0.9 weight_decay: 0.1 clip_gradients: 3 "
            + draw.choice(
                (
                    'lr_policy: "step" gamma: 0.5 stepsize: 3',
                    'type: "Adam" momentum2: 0.99 delta: 0.1 lr_policy: "poly" power: 2',
                    'type: "AdaDelta" lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 5',
                )
            )
        )
        try:
            solver = parse_solver(mutated(text, draw))
            solver.schedule(solver.optimizer(module))
            built += 1
        except UserError:
            told += 1
    assert min(built, told) > 10, (built, told)
