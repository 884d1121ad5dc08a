"""A run's own code: what was given from Python, what a file holds that the user names, what run.json remembers of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

from chainrule.core.errors import UserError
from chainrule.core.files.named_paths import expect_path
from chainrule.core.own_code import trust
from chainrule.core.own_code.loading import (
    OwnFile,
    RanFile,
    digest_of,
    module_file,
    names_own_code,
    run_file,
    split_name,
)
from chainrule.core.settings import parameters, takes_own_code

GIVEN = "python:"  # what a setting says whose value was given from Python, before the name of its type


class OwnWords(TypedDict, total=False):
    """What the verbs take in Python for a run with code of the user's own.

    Attributes:
        model, loss, metrics: the things themselves, for a run that was given them from Python.
        code: files that run.json names and that may run, though they were not named here before, or have changed.
    """

    model: Any
    loss: Any
    metrics: Any
    code: Sequence[str | Path]


class OwnCode:
    """The user's own network, loss and metrics of one run.

    Args:
        record: run.json's; what ran is noted in it below "code".
        asked: whether the settings of the record are what the user asks for now, as `train` does. Else they are those of
            a run folder, which may come from anywhere, and its files run only if the user has named them.
        model, loss, metrics: given from Python.
        code: files that may run.
    """

    def __init__(
        self,
        record: dict[str, Any],
        asked: bool,
        *,
        model: Any = None,
        loss: Any = None,
        metrics: Any = None,
        code: Sequence[str | Path] = (),
    ) -> None:
        self.record, self.asked = record, asked
        self._ran: dict[Path, RanFile] = {}  # a file that several settings name runs once
        given = {"network": model, "loss": loss, "metrics": metrics}
        self.given = {setting: thing for setting, thing in given.items() if thing is not None}
        expect_path("code", code)
        self.code = [Path(file).expanduser().resolve() for file in ([code] if isinstance(code, (str, Path)) else code)]

    @property
    def words(self) -> OwnWords:
        """What was given, to open the run once more."""
        things = {"model" if name == "network" else name: thing for name, thing in self.given.items()}
        return OwnWords(**things, code=self.code)  # type: ignore[typeddict-item]

    def get(self, setting: str) -> Any:
        """What the setting names: the thing given, or what its file holds; None where it names no code.

        Raises:
            UserError: the file is missing, fails, has changed, or was never named by this user.
        """
        text = self.record["settings"].get(setting)
        if not is_own(text):
            return None
        if setting in self.given:
            return self.given[setting]
        if text.startswith(GIVEN):
            raise _not_given(setting, text)
        place, name = self._file(setting, text)
        if place not in self._ran:
            self._ran[place] = run_file(place)
        found, file = self._ran[place].take(name)
        trust.remember(file)
        self.record.setdefault("code", {})[setting] = asdict(file)
        return found

    def allow_module(self, what: str, module: str) -> None:
        """A module that is imported for what a run names: one that the user names now, with --code, or named before.

        Raises:
            UserError: a run folder names it, and the user has not named it on this machine, or it has changed since.
        """
        file = module_file(module)
        accepted = any(
            given.name in (module, Path(file.file).name) or digest_of(given) == file.sha256 for given in self.code
        )
        if not (self.asked or accepted or trust.is_named(file)):
            raise UserError(
                f"the {what} of this run is code in a module, which was not named on this machine before as it is now",
                where=file.file,
                found=f"run.json names {module}; nothing that a run folder names runs by itself",
                cure=f"look at it, then add: --code {module}",
            )
        trust.remember(file)

    def expect_defaults(self, setting: str, names: Sequence[str], build: Callable[..., Any]) -> None:
        """UserError where settings have another value than the recipe's default, and no meaning beside code of the user's own."""
        settings, known = self.record["settings"], parameters(build)
        moved = [name for name in names if _plain(settings.get(name)) != _plain(known[name].default)]
        if moved and self.asked:
            raise UserError(
                f"{', '.join(moved)} {'has' if len(moved) == 1 else 'have'} no meaning beside a {setting} of your own",
                found=" ".join(f"{name}={settings[name]}" for name in moved),
                expected=f"{setting}={settings[setting]} without",
            )

    def _file(self, setting: str, text: str) -> tuple[Path, str]:
        """The file to run and the name in it."""
        kept = self.record.get("code", {}).get(setting)
        if self.asked and kept is None:
            return split_name(text)
        recorded = _recorded(kept)
        place = Path(recorded.file)
        alike = (f for f in self.code if f.name == place.name or digest_of(f) == recorded.sha256)
        if (accepted := next(alike, None)) is not None:
            return accepted, recorded.name
        if not trust.is_named(recorded):
            raise UserError(
                f"the {setting} of this run is code in a file, which was not named on this machine before",
                where=recorded.file,
                found="run.json names it; nothing that a run folder names runs by itself",
                cure=f"look at it, then add: --code {recorded.file}",
            )
        changed = recorded.changed()
        if changed:
            missing = not Path(changed[0]).is_file()
            raise UserError(
                f"the file of the {setting} {'is not there any more' if missing else 'has changed since the run'}",
                where=changed[0],
                expected="what it held when the run began"
                + (f" (SHA-256 {recorded.sha256[:12]}...)" if not missing else ""),
                cure=f"--code FILE, where it is now, by the name {place.name}"
                if missing
                else f"the old one, or: --code {recorded.file}",
            )
        return place, recorded.name


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def is_own(text: object) -> bool:
    """Whether a setting's value is code of the user's own, in a file or given from Python."""
    return isinstance(text, str) and (text.startswith(GIVEN) or names_own_code(text))


def word_for(thing: object) -> str:
    """What run.json says of a thing that was given from Python.

    >>> word_for(word_for), word_for(3)
    ('python:word_for', 'python:int')
    """
    return GIVEN + str(getattr(thing, "__name__", type(thing).__name__))


def separated(
    settings: Mapping[str, Any], model: Any, build: Callable[..., Any], owner: str
) -> tuple[OwnWords, dict[str, Any], dict[str, str]]:
    """Settings as Python gave them, divided: the user's own things, the settings to be read, and words for the things.

    Args:
        settings: by name; of those that may name code, a value that is no text is the thing itself.
        model: the thing for the setting `network`, or None.
        build: the recipe's function.
        owner: what the errors call the recipe.
    """
    known = {name for name, parameter in parameters(build).items() if takes_own_code(parameter.annotation)}
    if model is not None:
        if "network" not in known:
            raise UserError(
                f"{owner} takes no network of your own", found="model=...", cure="image-classifier, mlp-table"
            )
        if "network" in settings:
            raise UserError("the network is given twice", found=f"model=... and network={settings['network']}")
        settings = {**settings, "network": model}
    things = {n: v for n, v in settings.items() if n in known and v is not None and not isinstance(v, str)}
    words = OwnWords(**{"model" if name == "network" else name: thing for name, thing in things.items()})  # type: ignore[typeddict-item]
    plain = {name: value for name, value in settings.items() if name not in things}
    return words, plain, {name: word_for(thing) for name, thing in things.items()}


def divided(options: Mapping[str, Any]) -> tuple[OwnWords, dict[str, Any]]:
    """Of the options of a verb in Python those that give code of the user's own, and the others.

    >>> divided({"top": 3, "code": ["net.py"]})
    ({'code': ['net.py']}, {'top': 3})
    """
    own = {name: value for name, value in options.items() if name in OwnWords.__annotations__}
    return OwnWords(**own), {name: value for name, value in options.items() if name not in own}  # type: ignore[typeddict-item]


def _recorded(kept: Any) -> OwnFile:
    try:
        return OwnFile(**kept)
    except TypeError:
        raise UserError("run.json does not say which file its own code is in", found=kept) from None


def _not_given(setting: str, text: str) -> UserError:
    word = "model" if setting == "network" else setting
    return UserError(
        f"the {setting} of this run was given from Python, and a run folder does not keep it",
        expected=f"the same again, {text.removeprefix(GIVEN)}",
        cure=f"in Python: chainrule.resume(folder, {word}=...), and so for evaluate, predict, explain, export, report",
    )
