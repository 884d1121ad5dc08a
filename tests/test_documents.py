"""The documents say what is so: examples run, paths and symbols exist, commands parse, both languages agree."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from chainrule.cli import cli
from chainrule.cli.run_options import shown_default
from chainrule.core.course import LECTURES
from chainrule.core.discovery import get_recipe, known_settings
from chainrule.core.errors import UserError
from chainrule.core.settings import bind_to, parse_pairs
from chainrule.reporting.documents.families import rooms
from chainrule.reporting.documents.generate import documents, stale, write
from chainrule.reporting.documents.topics import gathered, places
from chainrule.reporting.ledger import read_entries
from chainrule.reporting.ledger_page import rows_of

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "chainrule"
GUIDE = "docs/adding-a-system.md"
INDEX = ("docs/index.md", "docs/index.zh.md")
GENERATED = (*INDEX, "docs/recipes.md", "docs/recipes.zh.md", *(f"docs/{room.page}" for room in rooms()))
DOCUMENTS = (
    "README.md",
    "README.zh.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "docs/using.md",
    "docs/using.zh.md",
    "docs/tables.md",
    "docs/tables.zh.md",
    "docs/architecture.md",
    GUIDE,
    "docs/errata.md",
    "docs/roadmap.md",
    "docs/tutorial-ground.md",
    "docs/tutorial-vision.md",
    "docs/tutorial-own.md",
    "docs/tutorial-own.zh.md",
    *GENERATED,
)
PRESENT = [name for name in DOCUMENTS if name != "CHANGELOG.md"]  # which says what had other names
# Written by benchmarks; a checkout may be looked at before they were run.
MADE = re.compile(r"docs/results\.md|docs/figures/.*|(benchmarks/)?results/.*")
# What stands in a run folder or in the user's own, not in the repository.
ELSEWHERE = re.compile(
    r"(checkpoint|figures|export|samples|runs|train|val|test|images)/.*|.*\.(jsonl|html)|(run|result|latest)\.json|mine\.py"
    r"|JPEGImages/|SegmentationClass/|trainannot/|masks/|classes\.txt"
)
TOPICS = ("activations", "losses", "policies", "networks")
ADDED = "maxout"  # the family and the recipe that the guide adds
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


def paths_in_diagrams(name: str) -> list[str]:
    """Rooms and files in fenced text: a word with a folder in it that ends in .py or in a slash."""
    return [
        word for block in blocks(name, "text") for word in re.findall(r"(?<![\w./])\w+/(?:[\w/]+\.py|)(?!\w)", block)
    ]


def looks_like_a_file(span: str) -> bool:
    """A path with a folder or an ending, and nothing that a path has not."""
    known = re.search(r"\.(py|md|toml|txt|json|yml|j2|safetensors)$", span) or span.endswith("/")
    return bool(re.fullmatch(r"[\w/-][\w./-]*", span) and known)


@pytest.mark.parametrize("name", PRESENT)
def test_files_named_exist(name: str) -> None:
    missing = []
    for span in {*spans(prose(name)), *(paths_in_diagrams(name) if name == "docs/architecture.md" else ())}:
        if not looks_like_a_file(span) or MADE.fullmatch(span) or ELSEWHERE.fullmatch(span) or span in added_by_guide():
            continue
        if re.fullmatch(
            r"(train|val|test|novel)\.(csv|txt)|(task|loop|figures|data|recipes)\.py|recipes/|systems/FAMILY/", span
        ):
            continue  # the user's own; what a file of any family's room is called
        if not any((place / span).exists() for place in (ROOT, PACKAGE, (ROOT / name).parent)):
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
        if "chainrule" in words:  # of torchrun some options are told alone
            yield words[words.index("chainrule") + 1 :]


def parse(words: list[str]) -> None:
    """As the command itself would, up to the point where it would begin to work."""
    command: click.Command = cli
    context = click.Context(cli, **cli.context_settings)  # click keeps the names of --help with a command
    while isinstance(command, click.Group):
        verb, *words = words
        found = command.get_command(context, verb)
        assert found is not None, f"there is no verb {verb}"
        command = found
    given = command.make_context(command.name, words, parent=context).params
    recipe = given.get("recipe")
    topic = command.name == "show" and (recipe in TOPICS or str(recipe).endswith(".prototxt"))
    if recipe is None or recipe in PLACEHOLDERS or recipe == ADDED or topic:
        return
    found_recipe = get_recipe(recipe)
    from chainrule.run.settings import run_settings

    bind_to(parse_pairs(given.get("settings", ())), known_settings(found_recipe, run_settings), owner=recipe)


@pytest.mark.parametrize("name", PRESENT)
def test_commands_parse(name: str) -> None:
    shown = [words for words in commands(name) if words[0] != "--help"]
    for words in shown:
        try:
            parse(words)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"chainrule {shlex.join(words)}: {error}") from error
    assert len(shown) > 10 or not name.startswith(("README", "docs/using"))


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


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("name", ["README.md"])
def test_the_example_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(name, "python")
    assert len(code.splitlines()) == 10
    exec(compile(code, name, "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert "accuracy" in printed and "measured once" in printed and printed.rstrip().endswith("60000")
    assert Path("runs/lenet5-1/report.html").is_file()


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").split()) <= 900


def test_the_figures_that_the_readme_names_are_the_ledgers() -> None:
    (row,) = (r for r in rows_of(read_entries(ROOT / "docs/results")) if (r.recipe, r.data) == ("lenet5", "mnist"))
    mean, deviation = (100 * float(number) for number in row.figure("error").split(" ± "))
    assert row.published is not None
    for name in ("README.md", "README.zh.md"):
        assert f"{mean:.2f} ± {deviation:.2f} %" in text_of(name)
        assert f"{100 * row.published.value:.2f} %" in text_of(name)


@pytest.mark.parametrize("name", ["README", "docs/using", "docs/tables"])
def test_both_languages_have_the_same_structure(name: str) -> None:
    def shape(name: str) -> dict[str, object]:
        text = text_of(name)
        return {
            "headings": re.findall(r"^#+", text, re.M),
            "blocks": [re.sub(r"\s*#.*", "", block) for block in blocks(name)],
            "rows": len(re.findall(r"^\|", text, re.M)),
            "links": [t.replace(".zh.md", ".md") for t in re.findall(r"\]\(([^)]+)\)", prose(name))],
            "commands": list(commands(name)),
        }

    english, chinese = shape(f"{name}.md"), shape(f"{name}.zh.md")
    for part, found in english.items():
        assert chinese[part] == found, part
    stem = Path(name).name
    assert f"]({stem}.zh.md)" in text_of(f"{name}.md").partition("\n## ")[0]
    assert f"]({stem}.md)" in text_of(f"{name}.zh.md").partition("\n## ")[0]


@pytest.mark.parametrize(
    ("name", "header"),
    [("docs/using.md", "| setting | default | means |"), ("docs/using.zh.md", "| 设置 | 默认值 | 含义 |")],
)
def test_the_settings_of_every_recipe_are_told(name: str, header: str) -> None:
    from chainrule.run.settings import run_settings

    told = {row[0].strip("`"): row[1] for row in rows(text_of(name), header)}
    known = {key: shown_default(p.default) for key, p in inspect.signature(run_settings).parameters.items()}
    assert told == known


def test_the_verbs_shown_are_all_there_are() -> None:
    shown = {row[0].strip("`").split()[1] for row in rows(text_of("docs/using.md"), "| call | does |")}
    assert shown == set(cli.commands)


# -- architecture -------------------------------------------------------------------------------------------------------


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


# -- generated ----------------------------------------------------------------------------------------------------------


def test_generated_documents_are_up_to_date() -> None:
    """`python -m chainrule.reporting.documents` writes them."""
    assert not stale(ROOT, documents(ROOT))


def test_what_is_not_up_to_date_is_written_and_what_nothing_makes_is_deleted(tmp_path: Path) -> None:
    made = {"docs/families/linear.md": "one\n", "README.md": "two\n"}
    write(tmp_path, made)
    (tmp_path / "docs/families/gone.md").write_text("old", "utf-8")
    (tmp_path / "README.md").write_text("changed", "utf-8")
    assert stale(tmp_path, made) == ["README.md", "docs/families/gone.md"]
    write(tmp_path, made)
    assert not stale(tmp_path, made) and not (tmp_path / "docs/families/gone.md").exists()


@pytest.mark.parametrize("name", [*GENERATED, "docs/results.md"])
def test_no_line_is_longer_than_a_screen_or_two(name: str) -> None:
    longest = max(text_of(name).splitlines(), key=len)
    assert len(longest) <= (600 if name in INDEX else 300), longest


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_a_family_says_what_it_is(room) -> None:
    assert room.record.title and re.search("[\u4e00-\u9fff]", room.record.zh) and room.recipes
    assert len(room.docstring) > 150 and room.record.best in ("", *(recipe.name for recipe in room.recipes))
    for recipe in room.recipes:
        assert re.search("[\u4e00-\u9fff]", recipe.summary_zh), recipe.name


# -- topics -------------------------------------------------------------------------------------------------------------

# What `index.md` had wrong, or left out, until the lectures were read again.
READ_AGAIN = {
    "Cross entropy, softmax": {1, 2, 3, 4, 5},
    "Weight decay": {2, 3, 4},
    "Gradient clipping": {3, 4},
    "Initialisation of weights": {1, 2, 3, 4},
    "Penalties: ridge, lasso (L1)": {2, 3, 4},
    "Logistic and softmax regression": {2, 3, 4, 5},
    "Support vector machine, kernels, SMO": {1, 2, 3, 5},
    "Classifiers of two classes put together: one against the rest, one against one": {1},
    "Forecasting a time series": {1},
    "Universal approximation by sigmoid bumps": {1, 2, 3},
    "Depth against width": {2, 5},
    "Activation functions, derivatives, saturation": {1, 2, 3, 4, 5},
    "Tanh against ReLU": {1, 2, 3, 4},
    "Random labels memorised": {3},
    "Nearest neighbours": set(),
    "Rare classes, precision and recall, calibration": set(),
    "Fine-tuning with frozen layers": set(),
    "Quality of samples: Frechet distance, classifier score": set(),
    "Deep Dream, style transfer": {1, 3},
    "Unpooling with switches, pooling in Caffe's form": {4},
    "Transposed convolution": {2, 3, 4},
    "Kernel density": {3},
}


def test_the_lectures_of_a_topic() -> None:
    assert {name: gathered()[name].lectures for name in READ_AGAIN} == READ_AGAIN
    assert all(topic.lectures <= set(range(1, len(LECTURES) + 1)) for topic in gathered().values())


def test_every_topic_is_stated_in_full_once() -> None:
    stated = Counter(topic.name for _, _, _, topic in places() if topic.zh)
    assert stated.keys() == gathered().keys() and set(stated.values()) == {1}
    assert all(any(topic.commands) for topic in gathered().values())


@cache
def names_in(file: Path) -> set[str]:
    """What a file defines at its top or imports, and the methods of its classes as Class.method."""
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_what_topics_name_exists() -> None:
    missing = [
        f"{path}: {name}"
        for topic in gathered().values()
        for path, names in topic.code.items()
        for name in names
        if name not in names_in(PACKAGE / path)
    ]
    assert not missing and sum(len(topic.code) for topic in gathered().values()) > 100


# -- form ---------------------------------------------------------------------------------------------------------------


def test_contributing_fits_one_screen() -> None:
    assert len(text_of("CONTRIBUTING.md").splitlines()) <= 80


def test_the_changelog_has_the_form() -> None:
    headings = re.findall(r"^## \[?([^\]\n]+?)\]?(?: - .*)?$", text_of("CHANGELOG.md"), re.M)
    assert headings[0] == "Unreleased"
    kinds = set(re.findall(r"^### (.+)$", text_of("CHANGELOG.md"), re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
