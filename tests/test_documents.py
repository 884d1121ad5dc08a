"""The documents say what is so: examples run, paths and symbols exist, commands parse, both languages agree."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from chainrule.cli import cli
from chainrule.core.discovery import all_recipes, get_recipe
from chainrule.core.errors import UserError
from chainrule.core.settings import bind, parse_pairs

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "chainrule"
GUIDE = "docs/adding-a-system.md"
INDEX = ("docs/index.md", "docs/index.zh.md")
DOCUMENTS = (
    "README.md",
    "README.zh.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    GUIDE,
    *INDEX,
    "docs/roadmap.md",
    "docs/tutorial-ground.md",
    "docs/tutorial-vision.md",
)
# Written by commands, from run folders; a checkout may be looked at before they were run.
MADE = re.compile(r"docs/results\.md|docs/images/.*|benchmarks/results/.*")
# What stands in a run folder or in the user's own, not in the repository.
ELSEWHERE = re.compile(
    r"(checkpoint|figures|export|samples|runs|train|val|test|images)/.*|.*\.(jsonl|html)|(run|result|latest)\.json"
)
TOPICS = ("activations", "policies", "networks")
ADDED = "maxout"  # the recipe that the guide adds
PLACEHOLDERS = {"RECIPE", "RUN", "RUN2", "INPUT", "PATH", "D", "NAME"}

pytestmark = pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="needs the repository")


@cache
def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, kind: str = r"\w*") -> list[str]:
    """The fenced blocks of that kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text_of(name), re.M | re.S)


def prose(name: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(name), flags=re.M | re.S)


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table that begins with `header`, without its two first lines."""
    lines = text.splitlines()
    start = lines.index(header)
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    assert table, header
    return table


def all_rows(text: str, header: str) -> list[list[str]]:
    """The cells of all tables that begin with `header`, one after another."""
    parts = text.split(header)[1:]
    return [row for part in parts for row in rows(header + part, header)]


# -- files and links ----------------------------------------------------------------------------------------------------


def added_by_guide() -> dict[str, str]:
    """The files that the guide shows whole, by path."""
    return dict(re.findall(r"^`([\w/.-]+\.py)`\n\n```python\n(.*?)^```$", text_of(GUIDE), re.M | re.S))


def looks_like_a_file(span: str) -> bool:
    """A path with a folder or an ending, and nothing that a path has not."""
    known = re.search(r"\.(py|md|toml|txt|json|yml|j2|safetensors)$", span) or span.endswith("/")
    return bool(re.fullmatch(r"[\w/-][\w./-]*", span) and known)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_named_exist(name: str) -> None:
    missing = []
    for span in spans(prose(name)):
        if not looks_like_a_file(span) or MADE.fullmatch(span) or ELSEWHERE.fullmatch(span) or span in added_by_guide():
            continue
        if re.fullmatch(r"(train|val|test|novel)\.(csv|txt)", span):  # the user's own
            continue
        if not any((place / span).exists() for place in (ROOT, PACKAGE)):
            missing.append(span)
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(name)):
        if target.startswith("https://") or MADE.fullmatch(target):
            continue
        assert ((ROOT / name).parent / target).is_file(), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_fence_is_closed_and_no_line_is_a_ruler(name: str) -> None:
    assert len(re.findall(r"^```", text_of(name), re.M)) % 2 == 0
    assert "—" not in text_of(name)
    assert "\t" not in text_of(name)


# -- commands -----------------------------------------------------------------------------------------------------------


def commands(name: str) -> Iterator[list[str]]:
    """The words after `chainrule` of every command shown, in blocks and in the text."""
    lines = [line for block in blocks(name, "(?:console|text)") for line in block.splitlines()]
    for line in [*lines, *spans(prose(name))]:
        words = shlex.split(line, comments=True) if re.match(r"(chainrule|torchrun) ", line) else []
        if words:
            yield words[words.index("chainrule") + 1 :]


def parse(words: list[str]) -> None:
    """As the command itself would, up to the point where it would begin to work."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        verb, *words = words
        found = command.get_command(context, verb)
        assert found is not None, f"there is no verb {verb}"
        command = found
    given = command.make_context(command.name, words, parent=context).params
    recipe = given.get("recipe")
    topic = command.name == "show" and recipe in TOPICS
    if recipe is None or recipe in PLACEHOLDERS or recipe == ADDED or topic:
        return
    found_recipe = get_recipe(recipe)
    from chainrule.run.settings import run_settings

    bind(parse_pairs(given.get("settings", ())), found_recipe.build, run_settings, owner=recipe)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_parse(name: str) -> None:
    shown = [words for words in commands(name) if words[0] != "--help"]
    for words in shown:
        try:
            parse(words)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"chainrule {shlex.join(words)}: {error}") from error
    assert len(shown) > 15 or not name.startswith("README")


@pytest.mark.parametrize(
    "wrong",
    [
        "trian lenet5",
        "show activation",
        "train policies",
        "train lenet6",
        "train lenet5 epoch=1",
        "train lenet5 --dat x",
        "export RUN",
    ],
)
def test_a_wrong_command_would_be_seen(wrong: str) -> None:
    with pytest.raises((AssertionError, UserError, click.ClickException)):
        parse(wrong.split())


# -- README -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md"])
def test_the_example_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(name, "python")
    assert len(code.splitlines()) == 10
    exec(compile(code, name, "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert "accuracy" in printed and "measured once" in printed and printed.rstrip().endswith("60000")
    assert Path("runs/lenet5-1/report.html").is_file()


def test_both_readmes_have_the_same_structure() -> None:
    def shape(name: str) -> dict[str, object]:
        text = text_of(name)
        return {
            "headings": re.findall(r"^#+", text, re.M),
            "blocks": [re.sub(r"\s*#.*", "", block) for block in blocks(name)],
            "rows": len(re.findall(r"^\|", text, re.M)),
            "links": [t.replace(".zh.md", ".md") for t in re.findall(r"\]\(([^)]+)\)", prose(name))],
            "commands": list(commands(name)),
        }

    english, chinese = shape("README.md"), shape("README.zh.md")
    for part, found in english.items():
        assert chinese[part] == found, part
    assert "](README.zh.md)" in text_of("README.md").partition("\n## ")[0]
    assert "](README.md)" in text_of("README.zh.md").partition("\n## ")[0]


def system_kinds() -> dict[str, type]:
    """The classes that recipes build, by name."""
    import chainrule.core.task

    kinds: dict[str, type] = {}
    for found in pkgutil.iter_modules(chainrule.core.task.__path__, "chainrule.core.task."):
        module = importlib.import_module(found.name)
        kinds |= {n: c for n, c in vars(module).items() if isinstance(c, type) and c.__module__ == module.__name__}
    return kinds


def test_the_tables_of_what_works_have_every_recipe_and_what_it_can_do() -> None:
    kinds = system_kinds()
    tables = all_rows(text_of("README.md"), "| command | what it is | data unless named | with the run |")
    shown = {row[0].strip("`").removeprefix("chainrule train "): row for row in tables}
    assert len(shown) == len(tables) and shown.keys() == all_recipes().keys()
    for name, recipe in all_recipes().items():
        kind = kinds[recipe.build.__annotations__["return"]]
        offers = {"predict": "predict", "generate": "generate", "export": "deployable"}
        can = [verb for verb, method in offers.items() if hasattr(kind, method)]
        assert shown[name][3] == (", ".join(can) or "-"), name
        assert shown[name][2] == recipe.data and shown[name][1], name


def test_both_tables_of_what_works_say_the_same() -> None:
    english = all_rows(text_of("README.md"), "| command | what it is | data unless named | with the run |")
    chinese = all_rows(text_of("README.zh.md"), "| 命令 | 内容 | 默认数据 | 训练之后 |")
    for one, other in zip(english, chinese, strict=True):
        assert [one[0], one[2], one[3]] == [other[0], other[2], other[3].replace("、", ", ")]


@pytest.mark.parametrize(
    ("name", "header"), [("README.md", "| setting | default | means |"), ("README.zh.md", "| 设置 | 默认值 | 含义 |")]
)
def test_the_settings_of_every_recipe_are_told(name: str, header: str) -> None:
    from chainrule.run.settings import run_settings

    told = {row[0].strip("`"): row[1] for row in rows(text_of(name), header)}
    known = {
        key: f"{p.default:g}" if isinstance(p.default, float) else str(p.default)
        for key, p in inspect.signature(run_settings).parameters.items()
    }
    assert told == known


def test_the_verbs_shown_are_all_there_are() -> None:
    shown = {row[0].strip("`").split()[1] for row in rows(text_of("README.md"), "| call | does |")}
    assert shown == set(cli.commands)


# -- architecture -------------------------------------------------------------------------------------------------------


def imports_of(file: Path) -> Iterator[str]:
    """The rooms of the package that a file imports, but for annotations."""

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "chainrule":
            parts = node.module.split(".")
            yield from parts[1:2] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("chainrule."))
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(file.read_text("utf-8")))


def test_imports_are_those_of_the_table() -> None:
    table = {
        row[0].strip("`").removesuffix("/").removesuffix(".py"): set(row[2].split(", "))
        for row in rows(text_of("docs/architecture.md"), "| room | holds | may import |")
    }
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" and not p.stem.startswith("__")}
    rooms |= {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert table.keys() == rooms
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room.startswith("__"):  # the package itself and `python -m chainrule` hand out what is asked for
            continue
        strange = set(imports_of(file)) - table[room] - {room, "__version__"}
        assert not strange, f"{file.relative_to(PACKAGE)} imports {strange}"


def test_no_model_imports_another() -> None:
    for file in (PACKAGE / "models").rglob("*.py"):
        for module in re.findall(r"^ *from (chainrule\.models\S*) import", file.read_text("utf-8"), re.M):
            assert module == "chainrule.core.card", file


def test_the_dependencies_are_those_of_the_project() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    named = [re.match(r"[\w-]+", entry)[0] for entry in project["dependencies"]]  # type: ignore[index]
    shown = [row[0].strip("`") for row in rows(text_of("docs/architecture.md"), "| package | why |")]
    assert shown == named


def test_a_run_folder_is_as_described(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.trained import lenet_run

    described = {path for row in rows(text_of("docs/architecture.md"), "| file | holds |") for path in spans(row[0])}
    for file in lenet_run(tmp_path_factory).rglob("*"):
        if file.is_file():
            name = re.sub(r"step-\d+", "step-N", file.relative_to(lenet_run(tmp_path_factory)).as_posix())
            assert name in described or f"{name.split('/')[0]}/" in described, name


# -- index --------------------------------------------------------------------------------------------------------------


@cache
def names_in(file: Path) -> set[str]:
    """What a file defines at its top, and the methods of its classes as Class.method."""
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def index_rows(name: str) -> list[list[str]]:
    found = [line for line in prose(name).splitlines() if line.startswith("|") and line.count("|") == 5]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in found]


@pytest.mark.parametrize("name", INDEX)
def test_what_the_index_lists_exists(name: str) -> None:
    listed = 0
    for _, code, command, _ in index_rows(name):
        file: Path | None = None
        for span in spans(code):
            if span.endswith(".py"):
                file = PACKAGE / span
                assert file.is_file(), span
            else:
                assert file is not None and span in names_in(file), f"{span} in {file}"
                listed += 1
        assert bool(spans(code)) == bool(spans(command)), code
    assert listed > 30


def test_both_indexes_have_the_same_rows() -> None:
    english, chinese = (index_rows(name) for name in INDEX)
    assert len(english) == len(chinese)
    for one, other in zip(english, chinese, strict=True):
        assert spans(one[1]) == spans(other[1]) and spans(one[2]) == spans(other[2])
        assert re.findall(r"\d", one[3]) == re.findall(r"\d", other[3])


# -- adding a system ----------------------------------------------------------------------------------------------------


def test_the_guide_can_be_followed(tmp_path: Path) -> None:
    """Its three files into a copy of the package, then its commands."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    assert len(added_by_guide()) == 3
    for name, content in added_by_guide().items():
        assert not (copy / name).exists(), name
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(content, "utf-8")

    def run(words: list[str]) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=copy, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    shown, tests = [
        [shlex.split(line) for line in block.splitlines()]
        for block in blocks(GUIDE, "console")
        if not re.search(r"^chainrule data get|^python -m", block, re.M)
    ]
    answers = [run(words) for words in shown]
    assert any(line.startswith(f"{ADDED} ") for line in answers[0].splitlines())
    assert "1,233,610 trainable parameters" in answers[1]
    assert float(answers[2].split()[1]) > 0.85  # accuracy
    assert (copy / "runs/maxout-first/report.html").is_file()
    for words in tests:
        assert "passed" in run(words)


# -- form ---------------------------------------------------------------------------------------------------------------


def test_contributing_fits_one_screen() -> None:
    assert len(text_of("CONTRIBUTING.md").splitlines()) <= 45


def test_the_changelog_has_the_form() -> None:
    headings = re.findall(r"^## \[?([^\]\n]+?)\]?(?: - .*)?$", text_of("CHANGELOG.md"), re.M)
    assert headings[0] == "Unreleased"
    kinds = set(re.findall(r"^### (.+)$", text_of("CHANGELOG.md"), re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
