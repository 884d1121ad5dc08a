"""The command: a thin layer on the Python functions of the same names. It loads PyTorch only where a verb needs it."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from chainrule.cli import answers, catalogue, data, inspection, training  # noqa: F401  # each adds its commands
from chainrule.cli.group import cli
from chainrule.cli.words import READER_GONE, told_beside
from chainrule.core.errors import ChainruleError, UserError, in_english
from chainrule.core.files.named_paths import OF_A_NAME, expect_text
from chainrule.core.files.regular_files import expect_regular
from chainrule.core.files.standard_streams import open_closed, say, silence
from chainrule.core.memory import said_of_memory
from chainrule.core.own_code.loading import told_by_line

OF_A_STREAM = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)  # without the name of a file: a write to stdout


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command, and exits unless it is done: 1 the run failed, 2 the input is wrong, 130 interrupted, 141 nobody read on.

    A message that cannot be written stops nothing; results that cannot be written to stdout are a failure.
    """
    open_closed()
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in options
    if debug:  # wherever it stands
        at = words.index("--debug")
        words = ["--debug", *words[:at], *words[at + 1 :]]
    words = _language_first(words, len(options))
    status = _run(words, debug)
    try:
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        status = status or _failed_to_write(error)
    if status:
        sys.exit(status)


def _language_first(words: list[str], options: int) -> list[str]:
    """The words with `--lang zh` before the command, wherever it stands among the first `options`.

    >>> _language_first(["train", "mlp", "--lang", "zh"], 4), _language_first(["list", "--lang=zh"], 2)
    (['--lang', 'zh', 'train', 'mlp'], ['--lang=zh', 'list'])
    """
    for at, word in enumerate(words[:options]):
        if word == "--lang" or word.startswith("--lang="):
            taken = words[at : at + (2 if word == "--lang" else 1)]
            return [*taken, *words[:at], *words[at + len(taken) :]]
    return words


def _run(words: list[str], debug: bool) -> int:
    """The exit status; what went wrong is said on stderr."""
    try:
        _expect_place_and_words(words)
        with told_by_line():
            cli.main(args=words, prog_name="chainrule", standalone_mode=False)
    except ChainruleError as error:
        if debug:
            raise
        if str(error):
            say(f"chainrule: {in_english(error)}")
        return error.exit_status
    except click.ClickException as error:
        text = io.StringIO()
        error.show(file=text)
        say(text.getvalue().rstrip() + told_beside(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("chainrule: stopped")
        return 130
    except (OSError, MemoryError, RuntimeError, UnicodeEncodeError) as error:
        words_for_it = _said(error)
        if debug or words_for_it is None:
            raise
        if not (isinstance(error, OSError) and error.filename is None and error.errno in OF_A_STREAM):
            say(f"chainrule: {words_for_it}")
            return 2 if isinstance(error, OSError) and error.errno in OF_A_NAME else 1
        silence(sys.stdout)  # what stands in its buffer goes nowhere either
        return _failed_to_write(error)
    return 0


def _expect_place_and_words(words: Sequence[str]) -> None:
    try:
        Path.cwd()
    except OSError:
        raise UserError("the working folder is not there any more", cure="cd to a folder that is") from None
    for word in words:
        for path in {word, word.partition("=")[2], word.rpartition("#")[0], word.rpartition(":")[0]}:
            expect_regular(path)
        expect_text("a word of the command", word)


def _said(error: OSError | MemoryError | RuntimeError | UnicodeEncodeError) -> str | None:
    """What is said of an error that came through; None where it is a fault of the program."""
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"\n  where:    {str(error.filename)[:300]}"
        return f"the system refuses: {error.strerror or error}{place}"
    if isinstance(error, UnicodeEncodeError):
        return f"a name cannot be written in {error.encoding}: {ascii(error.object)[:200]}"
    return said_of_memory(error)


def _failed_to_write(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return 128 + READER_GONE
    say(f"chainrule: the results could not be written to stdout: {error.strerror}")
    return 1
