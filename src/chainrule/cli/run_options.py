"""Commands whose options their run decides: those of `predict` and `generate`, which each task declares for itself.

The run is found among the words of the command line, its recipe in run.json, the options in the text of the task
(`chainrule.core.verbs`): all without PyTorch. `--top 5`, `--top=5` and `top=5` mean the same.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from chainrule.cli.words import is_path, split_words
from chainrule.core.errors import UserError, unknown
from chainrule.core.recipe import Recipe
from chainrule.core.settings import describe, shown_default
from chainrule.core.verbs import bind_options, verb_options, verbs_of
from chainrule.run.folder.record import recipe_of_run

_RECIPE = "chainrule.recipe"  # where a context keeps the recipe of its run


class RunCommand(click.Command):
    """The command of a verb of `chainrule.core.verbs.ANSWERS`; its first argument is a run."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *self._own_options(ctx)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        recipe = self._recipe(ctx, args)
        if recipe is None:  # what is wrong with the run is told first: until then any option will do
            ctx.ignore_unknown_options = ctx.allow_extra_args = True
            found = list(self._words(ctx, args, set()))
            known = [word for word, is_option in found if is_option and self._is_known(ctx, word)]
            inputs = [word for word, is_option in found if not is_option]
            return super().parse_args(
                ctx, [*known, "--", *inputs, *(w for w, is_o in found if is_o and w not in known)]
            )
        ctx.meta[_RECIPE] = recipe
        return super().parse_args(ctx, self._sorted(ctx, recipe, args))

    def options_given(self, ctx: click.Context) -> dict[str, Any]:
        """The options of the run's own, checked, with their values.

        Raises:
            UserError: there is no such run, it has not this verb, or an option is wrong.
        """
        recipe = recipe_of_run(ctx.params["run"])
        given = {name: ctx.params.get(name) for name in verb_options(recipe, self._verb)}
        return bind_options(recipe, self._verb, {name: text for name, text in given.items() if text is not None})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = self._own_options(ctx)
        ordinary = [record for p in super().get_params(ctx) if (record := p.get_help_record(ctx)) is not None]
        with formatter.section("Options"):
            formatter.write_dl(ordinary)
        if _RECIPE not in ctx.meta:
            formatter.write_paragraph()
            formatter.write_text(f"Each run has options of its own: chainrule {self._verb} RUN --help")
            return
        recipe: Recipe = ctx.meta[_RECIPE]
        with formatter.section(f"Options of {recipe.name}, also as KEY=VALUE"):
            formatter.write_dl(
                [record for p in own if (record := p.get_help_record(ctx)) is not None] or [("none", "")]
            )
        formatter.write_paragraph()
        formatter.write_text(verbs_of(recipe)[self._verb].doc)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        return found if incomplete.startswith("-") else [*self.pairs_from(ctx, incomplete), *found]

    def pairs_from(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The options of the run that begin so, as `key=`."""
        known = self._options(ctx.meta[_RECIPE]) if _RECIPE in ctx.meta else {}
        return [
            CompletionItem(f"{name}=", help=describe(p.annotation))
            for name, p in known.items()
            if name.startswith(incomplete)
        ]

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _verb(self) -> str:
        assert self.name is not None
        return self.name

    def _options(self, recipe: Recipe) -> Mapping[str, Any]:
        return verb_options(recipe, self._verb) if self._verb in verbs_of(recipe) else {}

    def _own_options(self, ctx: click.Context) -> list[click.Option]:
        recipe = ctx.meta.get(_RECIPE)
        return [] if recipe is None else [_option(*item) for item in self._options(recipe).items()]

    def _recipe(self, ctx: click.Context, args: list[str]) -> Recipe | None:
        """The recipe of the run that is named; None where there is no such run, or it has not this verb."""
        named = [word for word, is_option in self._words(ctx, args, set()) if not is_option]
        run = next((word for word in named if is_path(f"{word}/run.json")), None)
        try:
            recipe = recipe_of_run(run) if run is not None else None
        except UserError:
            return None
        return recipe if recipe is not None and self._verb in verbs_of(recipe) else None

    def _sorted(self, ctx: click.Context, recipe: Recipe, args: list[str]) -> list[str]:
        """The words with options first, those that were given as KEY=VALUE among them, and then the rest."""
        own = self._options(recipe)
        options, words, seen = list[str](), list[str](), set[str]()
        for word, is_option in self._words(ctx, args, {f"--{name.replace('_', '-')}" for name in own}):
            if not is_option and (pair := self._pair(word, own)) is not None:
                word, is_option = pair, True
            if not is_option:
                words.append(word)
                continue
            name = word.partition("=")[0].lstrip("-").replace("-", "_")
            if name in own and name in seen:
                raise UserError("an option is given twice", expected="once", found=word)
            ours = word.startswith("--") and name in own
            if not ours and not ctx.resilient_parsing and not self._is_known(ctx, word):
                if not word.startswith("--"):
                    raise unknown(
                        f"{self._verb} of {recipe.name} has no option",
                        word.partition("=")[0],
                        [f"--{known.replace('_', '-')}" for known in own],
                        cure=f"where it is an input: -- {word}",
                    )
                if name == "data" and name not in own:
                    raise UserError(
                        f"what {self._verb} is asked about stands without an option",
                        found=word,
                        cure=f"chainrule {self._verb} RUN PATH",
                    )
                bind_options(recipe, self._verb, {name: word.partition("=")[2]})
            seen.add(name)
            options.append(word)
        return [*options, "--", *words] if words else options

    def _is_known(self, ctx: click.Context, word: str) -> bool:
        begins = word.partition("=")[0] if word.startswith("--") else word[:2]  # -n5 is -n 5
        return any(begins in p.opts for p in super().get_params(ctx))

    def _pair(self, word: str, own: Mapping[str, Any]) -> str | None:
        """`top=5` as `--top=5`; also what nearly is an option, so that it is told. Else it is an input, as a file is."""
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name.isidentifier() or is_path(word):
            return None
        near = name in own or difflib.get_close_matches(name, own, n=1)
        takes_inputs = any(isinstance(p, click.Argument) and p.nargs == -1 for p in self.params)
        return f"--{name.replace('_', '-')}={value}" if near or not takes_inputs else None

    def _words(self, ctx: click.Context, args: list[str], own: set[str]) -> Iterator[tuple[str, bool]]:
        return split_words(super().get_params(ctx), args, own)


def _option(name: str, parameter: Any) -> click.Option:
    text = f"{describe(parameter.annotation)}; by default {shown_default(parameter.default)}"
    return click.Option([f"--{name.replace('_', '-')}", name], metavar=name.upper(), help=text)


def complete_options(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Options `key=` of the run named before, and files."""
    assert isinstance(context.command, RunCommand)
    found = context.command.pairs_from(context, incomplete)
    return found if found and incomplete else [*found, CompletionItem(incomplete, type="file")]
