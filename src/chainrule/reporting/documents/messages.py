"""The messages of the package, read from its own text: the msgids of the catalogue (`chainrule.core.language`).

A message is a constant or an f-string at one of the places where a person is spoken to: an error, a line of progress, the
help of a command, a figure's title and caption, the text of a template. An f-string is taken as its template: what it
formats becomes a placeholder with the name that the expression has, `{rows}`, `{rows_2}`.

    python -m chainrule.reporting.documents.messages     # brings the catalogue up to date: new messages untranslated
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.core.files import atomic
from chainrule.core.language.catalogue import FOLDER, catalogue_files, catalogue_text, entries
from chainrule.core.language.translation import LABELLED, PLACEHOLDER
from chainrule.reporting.spoken_templates import template_messages

PACKAGE = Path(__file__).parents[2]
WORDS = "words.po"  # names of metrics and columns, click's own words: what is in no call's text
# Calls that speak to a person, by the function's name: which arguments, by place and by keyword, are words.
_ERROR = ((0,), ("what", "where", "expected", "found", "cure"))
SPEAKS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "UserError": _ERROR,
    "RunFailed": _ERROR,
    "unknown": _ERROR,
    "UsageError": _ERROR,
    "say": ((0,), ()),
    "line": ((0,), ()),
    "echo": ((0,), ()),
    "_echo": ((0,), ()),
    "translate": ((0,), ()),
    "option": ((), ("help",)),
    "Figure": ((0, 1), ("title", "caption")),
    "gallery": ((2, 3), ("title", "caption")),
    "curves": ((1,), ("title",)),
    "lines": ((1, 2), ("title", "caption")),
    "_captioned": ((1,), ()),
    "Finding": ((0, 3, 4, 5), ("what", "limit", "meaning", "remedy")),
    "_panel": ((1, 2), ("name", "says")),
}
_NOTES = re.compile(r"_?(notes|remarks|warnings|faults)")  # lists of sentences, by name
_WORDS = re.compile(r"[^\W\d_]{2,}")
# Where any sentence is a message: what these rooms say is put together in many places.
_TALKING = ("api", "cli", "core", "data", "introspection", "loops", "reporting", "run", "tasks", "systems")
_FOR_READERS = ("data/catalog/", "reporting/ledger", "reporting/documents/")  # records and pages that are English
_RECORDS = {"Topic", "Family", "Card", "recipe", "Target", "Option", "Row", "Kind", "Source", "Published", "compile"}
_SENTENCE = re.compile(r"(?<![\w{./=\\-])[a-z]{2,}(?![\w}./=\\-])")  # its words
_MARKUP = re.compile(r"<\w|\w\(\?|\\d|[;{] ?\n|\.\w+ \{")  # HTML, a style sheet, a pattern
_DEEP = 3  # how many names and functions are followed from a call to the string it says
Names = Mapping[str, list[ast.expr]]


def messages(package: Path = PACKAGE) -> dict[str, str]:
    """Every message, with the file that says it first.

    >>> messages()["this needs the package {package}"]
    'core/errors.py'
    """
    found: dict[str, str] = {}
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package).as_posix()
        text = file.read_text("utf-8")
        if not place.startswith(("reporting/documents/", "core/language/")):
            said = (part for each in _of_module(ast.parse(text), place) for part in LABELLED.split(each)[::2])
            for template in filter(is_message, said):
                found.setdefault(template, place)
    for template in [each for each in found if f"{each} {{name}}" in found or f"{each} {{name_2}}" in found]:
        del found[template]  # what `unknown` puts a name behind
    for file in sorted(package.rglob("*.j2")):
        for template in template_messages(file.read_text("utf-8")):
            if is_message(template):
                found.setdefault(template, file.relative_to(package).as_posix())
    return found


def is_message(template: str) -> bool:
    """Whether there is something to translate beside what is formatted.

    >>> is_message("{name}: {error}"), is_message("no file {name}")
    (False, True)
    """
    return _WORDS.search(re.sub(r"\{\w*\}", "", template)) is not None


def _of_module(tree: ast.Module, place: str) -> Iterator[str]:
    scopes = _scopes(tree)
    functions = {name: scope for name, scope in scopes.items() if name}
    known = {name: _assigned(scope.nodes) for name, scope in scopes.items()}
    for name, scope in scopes.items():
        for node in scope.nodes:
            for said in _said_by(node):
                yield from _templates(said, {**known[""], **known[name]}, functions, _DEEP)
    if place.partition("/")[0] in _TALKING and not place.startswith(_FOR_READERS):
        of_a_family = place.startswith("systems/")
        own = [node for node in tree.body if not of_a_family or isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        yield from _sentences(own, least=5 if of_a_family else 3)
    if place.startswith("cli/"):
        for scope in functions.values():
            assert isinstance(scope.owner, ast.FunctionDef)
            if any("command" in ast.unparse(d) or "group" in ast.unparse(d) for d in scope.owner.decorator_list):
                yield from (" ".join(part.split()) for part in (ast.get_docstring(scope.owner) or "").split("\n\n"))


def _sentences(nodes: Iterable[ast.AST], least: int) -> Iterator[str]:
    """The strings below nodes that have so many English words; no docstrings, no records, nothing that is compared."""
    left = list(nodes)
    while left:
        node = left.pop()
        if (isinstance(node, ast.Call) and _last_name(node.func) in _RECORDS) or isinstance(
            node, (ast.Compare, ast.Expr)
        ):
            left += [] if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Constant) else [node.value]
            continue
        if isinstance(node, (ast.Constant, ast.JoinedStr)) or _is_text_sum(node):
            text = _template(node)  # type: ignore[arg-type]
            if (
                text is not None
                and " " in text
                and not _MARKUP.search(text)
                and len(_SENTENCE.findall(PLACEHOLDER.sub("", text))) >= least
            ):
                yield text
            if isinstance(node, ast.JoinedStr):
                left += [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            continue
        left += ast.iter_child_nodes(node)


def _is_text_sum(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and all(isinstance(part, (ast.Constant, ast.JoinedStr)) for part in _sum(node))


@dataclass
class _Scope:
    """A function, or a module without its functions: the nodes that may say something or name what is said."""

    owner: ast.AST
    nodes: list[ast.AST] = field(default_factory=list)


def _scopes(tree: ast.Module) -> dict[str, _Scope]:
    """By name of the function; the module's own under an empty name."""
    scopes = {"": _Scope(tree)}
    left: list[tuple[ast.AST, str]] = [(tree, "")]
    while left:
        node, name = left.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                scopes.setdefault(child.name, _Scope(child))
                left.append((child, child.name))
                continue
            if isinstance(child, (ast.Call, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Yield)):
                scopes[name].nodes.append(child)
            left.append((child, name))
    return scopes


def _said_by(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that a node says to a person."""
    if isinstance(node, ast.AugAssign) and _NOTES.fullmatch(_last_name(node.target)):
        yield node.value
    if not isinstance(node, ast.Call):
        return
    name = _last_name(node.func)
    owner = _last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    if name in ("append", "insert", "extend") and _NOTES.fullmatch(owner):
        yield from node.args
    if name not in SPEAKS or (name == "line" and owner != "progress"):
        if name in ("command", "group"):
            yield from (keyword.value for keyword in node.keywords if keyword.arg in ("help", "epilog"))
        return
    places, keywords = SPEAKS[name]
    said = [node.args[at] for at in places if at < len(node.args)]
    said += [keyword.value for keyword in node.keywords if keyword.arg in keywords and not _names_a_setting(keyword)]
    if name == "unknown" and said:  # it puts the name behind what is said, and names behind what was expected
        yield ast.BinOp(
            said[0], ast.Add(), ast.JoinedStr([ast.Constant(" "), ast.FormattedValue(ast.Name("name"), -1)])
        )
        expected = [keyword.value for keyword in node.keywords if keyword.arg == "expected"]
        yield from (ast.BinOp(each, ast.Add(), ast.Name("names")) for each in expected)
        said = [each for each in said[1:] if each not in expected]
    yield from said


def _names_a_setting(keyword: ast.keyword) -> bool:
    value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    return keyword.arg == "where" and isinstance(value, str) and " " not in value


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """What a scope gives its names, for strings that are named before they are said."""
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)) and isinstance(node.target, ast.Name) and node.value:
            found.setdefault(node.target.id, []).append(node.value)
    return found


def _templates(said: ast.expr, names: Names, functions: Mapping[str, _Scope], deep: int) -> Iterator[str]:
    """The templates of an expression: its own, those of its alternatives, those of the words that are put into it."""
    text = _template(said)
    if text is not None:
        yield text
    inner: list[ast.expr] = []
    if isinstance(said, ast.IfExp):
        inner = [said.body, said.orelse]
    elif isinstance(said, ast.BoolOp):
        inner = said.values
    elif isinstance(said, ast.JoinedStr):
        inner = [part.value for part in said.values if isinstance(part, ast.FormattedValue)]
    elif isinstance(said, ast.BinOp) and isinstance(said.op, ast.Add):
        inner = [part for part in _sum(said) if text is None or not isinstance(part, (ast.Constant, ast.JoinedStr))]
    elif isinstance(said, (ast.List, ast.Tuple)):
        inner = said.elts
    elif isinstance(said, ast.Starred):
        inner = [said.value]
    elif isinstance(said, (ast.ListComp, ast.GeneratorExp)):
        inner = [said.elt]
    elif isinstance(said, ast.Subscript) and isinstance(said.value, ast.Dict):
        inner = said.value.values
    elif isinstance(said, ast.Name) and deep:
        for each in names.get(said.id, ()):
            yield from _templates(each, {}, functions, deep - 1)
    elif isinstance(said, ast.Call) and isinstance(said.func, ast.Name) and said.func.id in functions and deep:
        nodes = functions[said.func.id].nodes
        own = _assigned(nodes)
        for node in nodes:
            if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
                yield from _templates(node.value, own, functions, deep - 1)
    for each in inner:
        yield from _templates(each, names, functions, deep)


def _sum(said: ast.expr) -> list[ast.expr]:
    if isinstance(said, ast.BinOp) and isinstance(said.op, ast.Add):
        return [*_sum(said.left), *_sum(said.right)]
    return [said]


def _template(said: ast.expr) -> str | None:
    """The text of a constant, or an f-string's, or a sum's of these, with placeholders for what is formatted."""
    parts: list[str | ast.expr] = []
    for piece in _sum(said):
        if isinstance(piece, ast.Constant) and isinstance(piece.value, str):
            parts.append(piece.value)
        elif isinstance(piece, ast.JoinedStr):
            parts += [
                part.value if isinstance(part, ast.FormattedValue) else str(part.value)  # type: ignore[attr-defined]
                for part in piece.values
            ]
        else:
            parts.append(piece)
    if not any(isinstance(part, str) for part in parts):
        return None
    used: dict[str, int] = {}
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        name = _name(part)
        used[name] = used.get(name, 0) + 1
        text += f"{{{name}{f'_{used[name]}' if used[name] > 1 else ''}}}"
    return text


def _name(value: ast.expr) -> str:
    """What a placeholder is called: the last name of what is formatted.

    >>> [_name(ast.parse(text, mode="eval").body) for text in ("self.path", "len(rows)", "rows[0]", "'s' * (n > 1)")]
    ['path', 'rows', 'rows', 's']
    """
    if isinstance(value, ast.Name):
        return value.id.strip("_") or "value"
    if isinstance(value, ast.Attribute):
        return value.attr.strip("_")
    if isinstance(value, ast.Constant):
        return re.sub(r"\W", "", str(value.value)) or "value"
    if isinstance(value, ast.IfExp):
        return "part"
    if isinstance(value, ast.Call):
        if isinstance(value.func, ast.Attribute) and value.func.attr == "join":
            return _name(value.args[0]) if value.args else "list"
        return _name(value.args[0]) if value.args else _name(value.func)
    if isinstance(value, (ast.Subscript, ast.Starred)):
        return _name(value.value)
    if isinstance(value, ast.BinOp):
        return _name(value.left)
    if isinstance(value, (ast.ListComp, ast.GeneratorExp)):
        return _name(value.generators[0].iter)
    return "value"


def up_to_date(found: Mapping[str, str]) -> dict[str, str]:
    """The text of each file of the catalogue, with the messages that there are: a file for each room of the package."""
    known = {file.name: dict(entries(file.read_text("utf-8"))) for file in catalogue_files()}
    translated = {msgid: msgstr for each in known.values() for msgid, msgstr in each.items() if msgid and msgstr}
    rooms: dict[str, dict[str, str]] = {}
    for message, place in sorted(found.items(), key=lambda pair: pair[1]):
        room = place.partition("/")[0].removesuffix(".py")
        rooms.setdefault(f"{room}.po", {})[message] = translated.get(message, "")
    return {name: catalogue_text(pairs) for name, pairs in rooms.items()}


def main() -> None:
    made = up_to_date(messages())
    for file in catalogue_files():
        if file.name not in made and file.name != WORDS:
            file.unlink()
    for name, text in made.items():
        atomic.write_text(FOLDER / name, text)


if __name__ == "__main__":
    main()
