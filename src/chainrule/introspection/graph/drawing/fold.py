"""Boxes instead of nodes: modules are closed to one box each, and blocks that repeat to one box with a count."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from chainrule.core.errors import unknown
from chainrule.introspection.graph.elementwise import ELEMENTWISE
from chainrule.introspection.graph.record import Graph, Node

MAX_BOXES = 30  # modules are opened, the small ones first, as long as a figure has no more than this
FOLDS_FROM = 6  # operations that a repeat must cover: two layers that happen to be alike are no repeat
LONGEST_PATTERN = 64  # the parts of a loop's body
SHOWN = 5  # of a long repeat the first and the last that are seen when it is opened


@dataclass
class Box:
    """One rectangle of a figure.

    Attributes:
        kind: input, parameter, constant, operation, hidden, module, repeat, or port (where another figure continues).
        title, subtitle: what stands in it.
        nodes: the indices of the nodes in it, parameters that only it uses included.
        exit: the node whose value and gradient it shows: the last one in it.
        inside: what is seen when it is opened.
    """

    kind: str
    title: str
    subtitle: str
    nodes: tuple[int, ...]
    exit: int
    inside: View | None = None


@dataclass
class Arrow:
    """From one box to another; `uses` are the (node, place of the edge) that it stands for."""

    source: int
    target: int
    uses: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class View:
    """One figure: the boxes in the order of computing, and arrows between them by their places in that list."""

    name: str
    boxes: list[Box]
    arrows: list[Arrow]


@dataclass
class _Item:
    """An operation, a module's call with what it called, or a repeat with its instances."""

    kind: str
    name: str
    title: str
    nodes: tuple[int, ...]
    signature: tuple[object, ...]
    parts: list[_Item] = field(default_factory=list)

    def names(self) -> Iterator[str]:
        yield self.name
        for part in self.parts:
            yield from part.names()


def view(graph: Graph, unfold: bool | Sequence[str] = ()) -> View:
    """The whole graph as boxes. `unfold` names modules or repeats to open in place; True opens all.

    Raises:
        UserError: there is no box of that name.
    """
    root = _tree(graph)
    names = [unfold] if isinstance(unfold, str) else unfold
    if not isinstance(names, bool):
        parts = [*_loose(graph), *root.parts]
        known = list(dict.fromkeys(name for part in parts for name in part.names() if part.parts))
        for name in names:
            if name not in known:
                raise unknown("there is no box", name, known[:60], cure="unfold=True opens all")
    return _Folder(graph, names).view("", _loose(graph) + root.parts, whole=True)


def inlined(graph: Graph) -> set[int]:
    """Parameters and constants that are shown in the box that uses them: all, where there are modules."""
    if len(graph.calls) == 1 and not graph.calls[0].kind:
        return set()
    return {node.index for node in graph.nodes if node.kind in ("parameter", "constant")}


# -- the tree -----------------------------------------------------------------------------------------------------------


def _loose(graph: Graph) -> list[_Item]:
    """Inputs, and where there are no modules parameters and constants; where they are very many, those alike in one."""
    hidden = inlined(graph)
    parts = [
        _Item(n.kind, n.name, n.name, (n.index,), (n.kind, n.shape, n.kind == "input" and n.name.rstrip("0123456789")))
        for n in graph.nodes
        if n.kind in ("input", "parameter", "constant") and n.index not in hidden
    ]
    return _repeats(graph, parts) if len(parts) > MAX_BOXES else parts


def _tree(graph: Graph) -> _Item:
    """The calls with their operations, as a tree, repeats folded at every level."""
    items = {call.index: _Item("module", call.name, call.name, (), ()) for call in graph.calls}
    first: dict[int, int] = {}
    placed: set[int] = {0}

    def place(index: int) -> None:  # a call is placed among what its parent does when its first operation comes
        if index not in placed:
            placed.add(index)
            place(graph.calls[index].parent)
            items[graph.calls[index].parent].parts.append(items[index])

    hidden = inlined(graph)
    for node in graph.nodes:
        if node.kind in ("operation", "hidden"):
            place(node.call)
            own = tuple(e.source for e in node.edges if e.source in hidden)
            shapes = tuple(graph.nodes[i].shape for i in own if graph.nodes[i].kind == "parameter")
            first.setdefault(node.call, node.index)
            items[node.call].parts.append(
                _Item(node.kind, node.name, node.name, (*own, node.index), (node.op, node.shape, shapes))
            )
    return _closed(graph, items[0], 0, {id(item): index for index, item in items.items()})


def _closed(graph: Graph, item: _Item, index: int, calls: dict[int, int]) -> _Item:
    """The item with everything below it simplified: a call of one operation is that operation, under its name."""
    parts = [_closed(graph, part, calls[id(part)], calls) if part.kind == "module" else part for part in item.parts]
    kind = graph.calls[index].kind
    if len(parts) == 1 and index:
        only = parts[0]
        return _Item(only.kind, item.name, item.name, only.nodes, (kind, only.signature), only.parts)
    nodes = tuple(dict.fromkeys(n for part in parts for n in part.nodes))
    signature = (kind, *(part.signature for part in parts))
    return _Item("module", item.name, item.name, nodes, signature, _repeats(graph, parts))


def _repeats(graph: Graph, parts: list[_Item]) -> list[_Item]:
    """The same list with each run of equal patterns in one item."""
    kinds: dict[tuple[object, ...], int] = {}
    codes = [kinds.setdefault(part.signature, len(kinds)) for part in parts]
    # Operations that stand by themselves in a function fold only where they are too many to be seen.
    layers = {call.name for call in graph.calls[1:]}
    folds = [len(parts) > MAX_BOXES or bool(part.parts) or part.name in layers for part in parts]
    weights = [1 if part.kind in ("input", "parameter", "constant") else _operations(graph, part) for part in parts]
    result: list[_Item] = []
    start = 0
    while start < len(parts):
        length, times = _best_pattern(codes, folds, weights, start)
        if times == 1:
            result.append(parts[start])
            start += 1
            continue
        instances = [_group(graph, parts[at : at + length]) for at in range(start, start + length * times, length)]
        nodes = tuple(dict.fromkeys(n for instance in instances for n in instance.nodes))
        words = ", ".join(_word(graph, part) for part in parts[start : start + length][:4])
        words += ", …" if length > 4 else ""
        name = f"{instances[0].name}…{instances[-1].name}"
        title = f"{words} × {times}" if length == 1 else f"({words}) × {times}"
        result.append(_Item("repeat", name, title, nodes, ("repeat", times, instances[0].signature), instances))
        start += length * times
    return result


def _best_pattern(codes: list[int], folds: list[bool], weights: list[int], start: int) -> tuple[int, int]:
    """The pattern from `start` on that covers most by repeating: its length and how often it comes."""
    best = (1, 1)
    for length in range(1, min(LONGEST_PATTERN, (len(codes) - start) // 2) + 1):
        pattern = codes[start : start + length]
        if codes[start + length] != pattern[0] or not any(folds[start : start + length]):
            continue
        times = 1
        while codes[start + times * length : start + (times + 1) * length] == pattern:
            times += 1
        covered = sum(weights[start : start + length * times])
        if times > 1 and covered >= FOLDS_FROM and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def _operations(graph: Graph, part: _Item) -> int:
    return sum(graph.nodes[n].kind in ("operation", "hidden") for n in part.nodes)


def _group(graph: Graph, parts: list[_Item]) -> _Item:
    if len(parts) == 1:
        return parts[0]
    nodes = tuple(dict.fromkeys(n for part in parts for n in part.nodes))
    name = f"{parts[0].name}, {parts[-1].name}"
    return _Item("module", name, name, nodes, tuple(part.signature for part in parts), parts)


def _word(graph: Graph, part: _Item) -> str:
    """What an item is called in a repeat: its class, or its operation."""
    called = graph.kinds.get(part.name)
    node = graph.nodes[part.nodes[-1]]
    return called if called is not None else node.op or node.kind


def _shortened(parts: list[_Item]) -> list[_Item]:
    """What is seen of a repeat that is opened: of a long one the first and the last."""
    if len(parts) <= 2 * SHOWN + 2:
        return parts
    rest = parts[SHOWN:-SHOWN]
    nodes = tuple(dict.fromkeys(n for part in rest for n in part.nodes))
    name = f"{rest[0].name}…{rest[-1].name}"
    return [*parts[:SHOWN], _Item("repeat", name, f"… × {len(rest)}", nodes, ()), *parts[-SHOWN:]]


# -- boxes --------------------------------------------------------------------------------------------------------------


class _Folder:
    """Makes boxes of items, opening as many as there is room for."""

    def __init__(self, graph: Graph, unfold: bool | Collection[str]) -> None:
        self.graph, self.unfold = graph, unfold
        self.users: dict[int, list[int]] = {}
        for node in graph.nodes:
            for edge in node.edges:
                self.users.setdefault(edge.source, []).append(node.index)
        self.inlined = inlined(graph)
        self.layers = {call.name for call in graph.calls[1:]}
        self.modules = len(graph.calls) > 1 or bool(graph.calls[0].kind)

    def view(self, name: str, items: list[_Item], whole: bool = False) -> View:
        boxes = [self._box(item) for item in self._opened(items)]
        return self._wired(name, boxes, whole)

    def _opened(self, items: list[_Item]) -> list[_Item]:
        """Opens what was asked for, then class by class what there is room for: all blocks of a class or none."""
        items = list(items)
        while True:
            asked = {id(item) for item in items if item.parts and self._asked(item)}
            if not asked:
                classes: dict[str, list[_Item]] = {}
                for item in items:
                    if item.parts and item.kind != "repeat":
                        classes.setdefault(_word(self.graph, item), []).append(item)
                fitting = [
                    group
                    for group in classes.values()
                    if len(items) + sum(len(item.parts) - 1 for item in group) <= MAX_BOXES
                ]
                asked = {id(item) for item in min(fitting, key=lambda g: sum(len(i.parts) for i in g), default=[])}
            if not asked:
                return items
            items = [part for item in items for part in (item.parts if id(item) in asked else [item])]

    def _asked(self, item: _Item) -> bool:
        return self.unfold is True or (not isinstance(self.unfold, bool) and item.name in self.unfold)

    def _box(self, item: _Item) -> Box:
        exit_ = item.nodes[-1]
        node = self.graph.nodes[exit_]
        parts = _shortened(item.parts) if item.kind == "repeat" else item.parts
        inside = self.view(item.name, parts) if parts else None
        if item.kind in ("operation", "hidden") and not item.parts:
            called = item.name in self.layers
            plain = node.op in ELEMENTWISE or not self.modules
            title = item.title if called else f"{node.name} = {node.expression if plain else node.op}"
            subtitle = node.op if called else ""
            return Box(node.kind, title, subtitle, item.nodes, exit_)
        if not item.parts:
            return Box(item.kind, item.title, "" if item.kind == "input" else item.kind, item.nodes, exit_)
        if item.kind == "repeat":
            return Box("repeat", item.title, item.name, item.nodes, exit_, inside)
        return Box(
            "module", item.title, _word(self.graph, item) if item.kind == "module" else "", item.nodes, exit_, inside
        )

    def _wired(self, name: str, boxes: list[Box], whole: bool) -> View:
        """Arrows between the boxes, and ports to what lies outside."""
        home = {n: place for place, box in enumerate(boxes) for n in box.nodes if n not in self.inlined}
        ports: dict[int, int] = {}
        entries: list[Box] = []
        arrows: dict[tuple[int, int], Arrow] = {}
        for place, box in enumerate(boxes):
            for index in box.nodes:
                for number, edge in enumerate(self.graph.nodes[index].edges):
                    if edge.source in self.inlined:
                        continue
                    source = home.get(edge.source)
                    if source is None:
                        if edge.source not in ports:
                            ports[edge.source] = len(ports)
                            entries.append(self._port(edge.source))
                        source = -1 - ports[edge.source]
                    if source != place:
                        arrows.setdefault((source, place), Arrow(source, place)).uses.append((index, number))
        found = [
            Arrow(a.source + len(entries) if a.source >= 0 else -1 - a.source, a.target + len(entries), a.uses)
            for a in arrows.values()
        ]
        return View(name, entries + boxes, found)

    def _port(self, index: int) -> Box:
        node: Node = self.graph.nodes[index]
        call = self.graph.calls[node.call].name
        return Box("port", f"from {call or node.name}", node.op or node.kind, (), index)
