"""The catalogue has the messages that the package says; what is not translated yet is named."""

from __future__ import annotations

import ast

import pytest

from chainrule.core.language.catalogue import read_catalogue
from chainrule.core.language.choice import set_language
from chainrule.reporting.documents import messages as extraction
from chainrule.reporting.documents.messages import messages
from chainrule.reporting.spoken_templates import spoken, template_messages

COMPLETE = ("core", "cli", "data", "reporting")  # what a newcomer meets; all of it is in Chinese
SHARE = 0.97  # of all messages; it may only rise


def test_messages_are_translated() -> None:
    found, known = messages(), read_catalogue()
    lacking = {text: place for text, place in found.items() if text not in known}
    listed = "\n".join(f"{place}: {text!r}" for text, place in lacking.items())
    how = "python -m chainrule.reporting.documents.messages, then translate in core/language/zh:\n"
    assert not [place for place in lacking.values() if place.partition("/")[0] in COMPLETE], how + listed
    assert len(lacking) <= (1 - SHARE) * len(found), how + listed
    assert len(found) > 2500


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('UserError(f"no {len(rows)} in {self.path!r}", found=f"{rows[0]}")', {"no {rows} in {path}"}),
        ('UserError("a " "b", cure="c d" if x else f"e {y:,}")', {"a b", "c d", "e {y}"}),
        ('raise unknown("no fruit", name, known)', {"no fruit {name}"}),
        ('def f():\n    cure = "buy one"\n    UserError("none", cure=cure)', {"buy one", "none"}),
        ('def f():\n    UserError(g())\ndef g():\n    return f"the {n}th"', {"the {n}th"}),
        ('run.progress.line("so far")\nfile.line("of the file")', {"so far"}),
        ('UserError("bad", where="lr")', {"bad"}),
    ],
)
def test_what_a_module_says(code: str, said: set[str]) -> None:
    assert set(extraction._of_module(ast.parse(code), "optim/x.py")) == said


def test_a_template_is_spoken() -> None:
    template = '<p title="step">{% if x %}<h2>Layers</h2>{% endif %}All <b>{{ w.target }}</b>, {{ n }} numbers</p><style>a b</style>'
    assert list(template_messages(template)) == ["Layers", "All <b>{target}</b>, {n} numbers", "step"]
    page = "<h2>The run</h2>{{ x }}<td>The first {{ w.shown }} of {{ w.count }}</td>"
    assert spoken(page) == page
    set_language("zh")
    assert spoken(page) == "<h2>运行</h2>{{ x }}<td>{{ w.count }} 个中的前 {{ w.shown }} 个</td>"
