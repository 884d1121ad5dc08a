"""`graph(f, *inputs)`: any function or network, called once, with every value and every gradient inside it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.introspection.graph.gradients import differentiate
from chainrule.introspection.graph.record import MAX_NUMBERS, Call, Graph, Node
from chainrule.introspection.graph.rules import partial, words_for, written
from chainrule.introspection.graph.tape import Tape
from chainrule.introspection.graph.tracing.calls import Calls


def graph(f: Callable[..., Any], *inputs: Any, seed: Tensor | Sequence[Tensor] | None = None) -> Graph:
    """Calls `f` once and gives its computational graph, with the value and the gradient of every node.

    The gradient that arrives at a node h is the derivative of the objective by h. The objective is the sum of all
    numbers that f gives (of several tensors: of those that depend on something), or with `seed` the sum of the numbers
    times the seed. By the chain rule it is the sum, over the operations that use h, of the gradient that arrives at the
    operation times its local derivative by h:

        dL/dh = sum over uses u of dL/du * du/dh

    Args:
        f: a function of tensors, or a module. It is run as it is: a module in training mode drops units. Buffers are
            put back afterwards, `.grad` of parameters is not touched.
        inputs: tensors, and tuples, lists and dictionaries of them. A Python number becomes a scalar in float64. The
            function gets copies, and floating-point ones are differentiated.
        seed: the gradient to begin with, of the output's shape; a list where f gives several tensors.

    Raises:
        UserError: the output depends on nothing that could have a gradient; the seed has another shape.
        Exception: whatever f raises, with a note that says which operation was the last before it.

    Source: Linnainmaa 1970; Goodfellow, Bengio, Courville 2016, Deep Learning, section 6.5.

    >>> g = graph(lambda x, y, z: (x + y) * (y - z), -1, 3, 2)
    >>> g["f"].expression, g["f"].number, float(g["y"].gradient)
    ('h1 * h2', 2.0, 3.0)
    """
    names = _names_around(f)
    calls = Calls(f if isinstance(f, nn.Module) else None, names)
    tape = Tape(calls, names)
    given = _Given(tape, _parameter_names(f, len(inputs)))
    with calls.watched(), torch.enable_grad():
        arguments = [given.copy(value, given.names[number]) for number, value in enumerate(inputs)]
        try:
            with tape:
                result = f(*arguments)
        except Exception as error:
            error.add_note(_where_it_ended(tape))
            raise
        outputs = [t for t in map(tape.as_it_is_now, _tensors_of(result)) if t.requires_grad]
        if not outputs:
            raise _no_dependence(result, tape, given)
        indices = [tape.node_of(tensor) for tensor in outputs]
        seeds = _seeds(outputs, seed)
        differentiate(tape, outputs, seeds)
    for index, start in zip(indices, seeds, strict=True):
        if start.numel() <= MAX_NUMBERS:
            before = tape.nodes[index].seed
            tape.nodes[index].seed = start if before is None else before + start
    count = sum(t.numel() for t in outputs)
    what = "the output" if count == 1 else f"the sum of the {count:,} numbers of the output"
    objective = what if seed is None else "the sum of the output's numbers times the seed"
    title = type(f).__name__ if isinstance(f, nn.Module) else getattr(f, "__name__", type(f).__name__)
    return _finished(tape, "f" if title == "<lambda>" else title, indices, objective)


class _Given:
    """Makes the copies of the inputs that the function is called with."""

    def __init__(self, tape: Tape, names: list[str]) -> None:
        self.tape, self.names = tape, names

    def copy(self, value: Any, name: str) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = torch.tensor(float(value), dtype=torch.float64)
        elif isinstance(value, complex):
            value = torch.tensor(value, dtype=torch.complex128)
        elif hasattr(value, "__array__") and not isinstance(value, Tensor):
            value = torch.as_tensor(value)
        if isinstance(value, Tensor):
            copy = value.detach().clone()
            if copy.is_floating_point() or copy.is_complex():
                leaf = copy.requires_grad_()
                copy = leaf.clone()  # no leaf, so that the function may write into it
                self.tape.leaves[len(self.tape.nodes)] = leaf
            self.tape.add(copy, "input", name=name)
            return copy
        if type(value) is dict:
            return {key: self.copy(item, f"{name}.{key}") for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            parts = [self.copy(item, f"{name}{number}") for number, item in enumerate(value)]
            return value._make(parts) if hasattr(value, "_make") else type(value)(parts)
        return value


def _tensors_of(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif hasattr(result, "__dataclass_fields__"):
        yield from _tensors_of(vars(result))
    elif isinstance(result, dict):
        for item in result.values():
            yield from _tensors_of(item)
    elif isinstance(result, (tuple, list)):
        for item in result:
            yield from _tensors_of(item)


def _parameter_names(f: Any, count: int) -> list[str]:
    """The names of the function's parameters, as far as it has any."""
    try:
        signature = inspect.signature(f.forward if isinstance(f, nn.Module) else f)
    except (TypeError, ValueError):  # a function of C has none
        return [f"x{number}" for number in range(count)]
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = count - len(names)
            names += [parameter.name] if rest == 1 else [f"{parameter.name}{n}" for n in range(rest)]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return names + [f"x{number}" for number in range(len(names), count)]


def _names_around(f: Any) -> dict[int, str]:
    """Names of modules, parameters and tensors that the module holds or the function refers to, by id."""
    if isinstance(f, nn.Module):
        found = [*f.named_modules(), *f.named_parameters(), *f.named_buffers()]
        return {id(thing): name for name, thing in found}
    if not inspect.isfunction(f):
        return {}
    around = inspect.getclosurevars(f)
    names: dict[int, str] = {}
    for name, thing in {**around.globals, **around.nonlocals}.items():
        if isinstance(thing, Tensor):
            names[id(thing)] = name
        elif isinstance(thing, nn.Module):
            inside = [*thing.named_modules(), *thing.named_parameters(), *thing.named_buffers()]
            names |= {id(part): f"{name}.{inner}" if inner else name for inner, part in inside}
    return names


def _seeds(outputs: list[Tensor], seed: Tensor | Sequence[Tensor] | None) -> list[Tensor]:
    if seed is None:
        return [torch.ones_like(tensor) for tensor in outputs]
    seeds = [seed] if isinstance(seed, Tensor) else [torch.as_tensor(s) for s in seed]
    wanted, found = [tuple(t.shape) for t in outputs], [tuple(s.shape) for s in seeds]
    if wanted != found:
        raise UserError(
            "the seed does not fit the output",
            expected=f"shapes {wanted}",
            found=f"shapes {found}",
            cure="one seed for each tensor that depends on an input, each of its shape",
        )
    return [s.to(t) for s, t in zip(seeds, outputs, strict=True)]


def _where_it_ended(tape: Tape) -> str:
    last = next((node for node in reversed(tape.nodes) if node.kind == "operation"), None)
    if last is None:
        return "in the graph: before the first operation on an input"
    call = tape.calls.found[last.call].name
    inside = f" in {call}" if call else ""
    return (
        f"in the graph: the last operation that ended was number {last.index}, {last.op}{inside}, of shape {last.shape}"
    )


def _no_dependence(result: Any, tape: Tape, given: _Given) -> UserError:
    if tape.exits:
        how = ", ".join(dict.fromkeys(tape.exits))
        return UserError(
            "the output depends on no input: a number left the graph on the way",
            found=how,
            cure="keep to PyTorch's functions: torch.exp instead of math.exp, x instead of float(x) or x.item()",
        )
    if not any(True for _ in _tensors_of(result)):
        return UserError(
            "the function gives no tensor", expected="a tensor computed from the inputs", found=type(result).__name__
        )
    stopped = [node.op for node in tape.nodes if node.op in ("detach", "data")]
    why = f"; {stopped[0]} stops the gradient" if stopped else ""
    return UserError(
        "the output depends on no input that has a gradient" + why,
        expected="an output computed from floating-point inputs or from parameters with requires_grad=True",
        found=", ".join(f"{node.name} ({node.dtype})" for node in tape.nodes if node.kind == "input") or "no input",
        cure="give inputs as floating-point tensors, and leave out detach(), .data and torch.no_grad() on the way",
    )


def _finished(tape: Tape, title: str, outputs: list[int], objective: str) -> Graph:
    """Leaves out what leads nowhere, numbers the rest anew, and names it."""
    wanted = _before(tape.nodes, outputs)
    wanted |= {node.index for node in tape.nodes if node.kind == "input"}
    kept = [node for node in tape.nodes if node.index in wanted]
    decided = _before(tape.nodes, tape.branches) | _before(tape.nodes, tape.exit_nodes)
    without_effect = sum(_is_work(node) for node in tape.nodes if node.index not in wanted | decided)
    new = {node.index: place for place, node in enumerate(kept)}
    tests = [tape.nodes[index].op for index in tape.branches]
    for node in kept:
        node.index = new[node.index]
        for edge in node.edges:
            edge.source = new[edge.source]
    places = [new[index] for index in outputs]
    _name(kept, places, tape.calls.found)
    notes = []
    if tape.exits:
        notes.append(
            f"numbers left the graph by {', '.join(dict.fromkeys(tape.exits))}: no gradient comes back from them"
        )
    if without_effect:
        some = "1 operation has" if without_effect == 1 else f"{without_effect} operations have"
        notes.append(f"{some} no effect on the output and {'is' if without_effect == 1 else 'are'} left out")
    if tests:
        asked = ", ".join(dict.fromkeys(word or "a tensor" for word in tests))
        notes.append(f"a value decided a branch ({asked}): the graph is that of the branch taken")
    return Graph(title, kept, tape.calls.found, places, objective, notes)


def _before(nodes: list[Node], ends: Sequence[int]) -> set[int]:
    """The nodes that the given ones are computed from, and these themselves."""
    found: set[int] = set()
    stack = list(ends)
    while stack:
        index = stack.pop()
        if index not in found:
            found.add(index)
            stack.extend(edge.source for edge in nodes[index].edges)
    return found


def _is_work(node: Node) -> bool:
    """An operation that counts: no further result of another, and one that a gradient could reach."""
    return node.kind == "operation" and node.differentiable and not any(edge.sibling for edge in node.edges)


def _name(nodes: list[Node], outputs: list[int], calls: list[Call]) -> None:
    """Names for what has none, expressions, and the rules of the edges."""
    taken = {node.name for node in nodes if node.name}
    layers: dict[int, list[int]] = {call.index: [] for call in calls}
    for node in nodes:
        if node.kind in ("operation", "hidden") and node.call:
            layers[node.call].append(node.index)
    count, free = 0, {letter: _free(letter, taken) for letter in "wc"}
    for node in nodes:
        if node.kind == "parameter" and not node.name:
            node.name = next(free["w"])
        elif node.kind == "constant" and not node.name:
            node.name = f"{node.number:g}" if node.number is not None else next(free["c"])
        elif node.kind in ("operation", "hidden"):
            if layers[node.call] == [node.index] and calls[node.call].name not in taken:
                node.name = calls[node.call].name
            elif len(set(outputs)) == 1 and node.index == outputs[0] and "f" not in taken:
                node.name = "f"
            else:
                count = next(n for n in range(count + 1, count + len(taken) + 2) if f"h{n}" not in taken)
                node.name = f"h{count}"
            operands = [nodes[node.edges[a].source].name if isinstance(a, int) else a for a in node.arguments]
            node.expression = written(node.op, operands, node.options)
            words = () if node.own_backward else words_for(node.op, node.arguments)
            seen: set[int] = set()
            for place, argument in enumerate(node.arguments):
                if isinstance(argument, int) and argument not in seen:
                    seen.add(argument)
                    rule = partial(node.op, place, operands, node.name, node.options)
                    node.edges[argument].rule = rule or (words[place] if place < len(words) else "")


def _free(letter: str, taken: set[str]) -> Iterator[str]:
    """The names w1, w2, ... that nothing else has."""
    return (name for number in itertools.count(1) if (name := f"{letter}{number}") not in taken)
