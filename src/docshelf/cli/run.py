"""Runs a verb: arguments, errors and their exit codes, closed pipes, Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from docshelf.cli import changing, checking, folders, looking, moving, settling
from docshelf.cli.arguments import Arguments, Verb, build_parser, with_defaults
from docshelf.cli.codes import DONE, FAILED, INTERRUPTED, REFUSED, USAGE, CommandError
from docshelf.cli.output import Output, is_terminal
from docshelf.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    ConfigurationError,
    DocShelfError,
    MassDeleteError,
    UnsupportedValueError,
    ValueTooLargeError,
)

VERBS: tuple[Verb, ...] = (
    *looking.VERBS,
    *checking.VERBS,
    *changing.VERBS,
    *folders.VERBS,
    *moving.VERBS,
    *settling.VERBS,
)
# Errors about what was given at the command line.
_ABOUT_ARGUMENTS = (
    ArgumentTypeError,
    ArgumentValueError,
    ConfigurationError,
    UnsupportedValueError,
    ValueTooLargeError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: the arguments; by default those of the process.
    """
    if sys.stdout is None:  # closed by whoever started the command
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    try:
        return _parsed(argv)
    except SystemExit as exc:  # argparse ends so, after its help or an error
        return exc.code if isinstance(exc.code, int) else USAGE
    except BrokenPipeError:
        # Whoever read the output has enough: `| head`. Nothing is left to flush at exit.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        with suppress(OSError, ValueError):
            sys.stderr.write("\ninterrupted; a write that was under way was not committed\n")
        return INTERRUPTED


def _parsed(argv: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # what cannot be encoded is shown as its escape
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    parser = build_parser(VERBS)
    arguments = with_defaults(parser.parse_args(argv))
    if arguments.completion:
        return _completion(parser, arguments.completion)
    if arguments.verb is None:
        parser.print_help(sys.stderr)
        return USAGE
    if arguments.verbose:
        logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
        logging.getLogger("docshelf").setLevel(logging.DEBUG)
    form = arguments.form or ("table" if is_terminal(sys.stdout) else "lines")
    output = Output(form, quiet=arguments.quiet)
    code = _run(arguments, output)
    output.out.flush()
    return code


def _run(arguments: Arguments, output: Output) -> int:
    try:
        code: int = arguments.run(arguments, output)
    except CommandError as exc:
        return _failed(arguments, exc, str(exc), exc.code)
    except MassDeleteError as exc:
        text = str(exc).replace("pass allow_mass_delete=True", "give --allow-mass-delete")
        return _failed(arguments, exc, text, REFUSED)
    except _ABOUT_ARGUMENTS as exc:
        return _failed(arguments, exc, str(exc), USAGE)
    except DocShelfError as exc:
        return _failed(arguments, exc, str(exc), FAILED)
    except BrokenPipeError:
        raise
    except OSError as exc:
        return _failed(arguments, exc, f"{exc.filename or ''}: {exc.strerror or exc}".lstrip(": "), FAILED)
    return code


def _failed(arguments: Arguments, error: Exception, text: str, code: int) -> int:
    if arguments.verbose:
        logging.getLogger("docshelf").debug("this error", exc_info=error)
    sys.stdout.flush()
    sys.stderr.write(f"docshelf {arguments.verb}: {text}\n")
    return code


def _completion(parser: ArgumentParser, shell: str) -> int:
    try:
        import shtab
    except ImportError:
        sys.stderr.write("docshelf: completion needs shtab: pip install 'docshelf[completion]'\n")
        return FAILED
    if shell not in shtab.SUPPORTED_SHELLS:
        sys.stderr.write(f"docshelf: no completion for {shell!r}; there is {', '.join(shtab.SUPPORTED_SHELLS)}\n")
        return USAGE
    sys.stdout.write(shtab.complete(parser, shell) + "\n")
    return DONE
