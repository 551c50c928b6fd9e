"""The process around the command line: streams, signals, exit codes.

Expected failures end as one line on stderr and the exit code of their class in `errors`.
`--debug`, anywhere on the line, shows their tracebacks and times too.

Signals are handled before anything large is imported. While anything is being imported they end
the process at once, since extension modules do not survive an exception in their middle: it comes
out as another, or as a crash. Else they unwind it. A library that calls back may swallow
what unwinds; the command then goes on, and ends with the signal's code all the same.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False  # typing's own takes 10 ms to import, in which Ctrl-C is a traceback
if TYPE_CHECKING:
    from collections.abc import Callable
    from sys import UnraisableHookArgs
    from types import FrameType
    from typing import NoReturn

    from typer import Typer
    from typer._click import Context

_ERROR = "error:"
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_SHOWING_SECONDS = 1.0


def main() -> None:
    """Run the command line; the exit codes are those of `errors.ExitCode`."""
    _handle_signals(_end_at_once)
    sys.unraisablehook = _pass_over_stopped
    gc.disable()  # until a command has its imports, see commands.shared.collect_from_now_on
    debug = "--debug" in sys.argv
    _prepare_process(debug)
    from petclassify.cli import app

    try:
        _handle_signals(_stop)
        code = _run(app, debug)
        _handle_signals(_end_at_once)  # there is nothing left to unwind
    except Stopped:
        _end_stopped()
    if _signals_taken:
        _end_stopped()
    # A last collection over all of torch's objects would take a second, for nothing.
    gc.disable()
    gc.freeze()
    sys.exit(code)


def _run(app: Typer, debug: bool) -> int | None:
    """Run the command, and say why it failed if it did; the exit code."""
    from petclassify.terminal import coloured

    code: int | None
    try:
        arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
        code = app(arguments, prog_name="petclassify", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        if _signals_taken:  # what they raised came out as another
            _end_stopped()
        if debug:
            sys.excepthook(type(error), error, error.__traceback__)
        message, code = _explain(error)
        if message.startswith(_ERROR):
            message = coloured(_ERROR, "red", sys.stderr) + message.removeprefix(_ERROR)
        sys.stderr.write(f"{message}\n")
    return code


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. Not an Exception, so that no handler takes it for a failure."""


_signals_taken: list[int] = []


def _handle_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        # Whoever started this may have it ignored, as shells do for jobs in the background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end_at_once(number: int, _: FrameType | None) -> None:
    try:
        os.write(2, b"\nstopped\n")
    finally:  # stderr may be closed
        os._exit(128 + number)


def _stop(number: int, frame: FrameType | None) -> None:
    """Unwind at the first signal; the second ends the process at once."""
    _handle_signals(signal.SIG_DFL)
    if _is_importing(frame):
        _end_at_once(number, frame)
    _signals_taken.append(number)
    raise Stopped


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False


def _pass_over_stopped(unraisable: UnraisableHookArgs) -> None:
    """Show what Python had to swallow, except for a signal, which `main` looks at in the end."""
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)


def _end_stopped() -> NoReturn:
    """Show what is still to be shown, where it can be, and end with the signal's code."""
    from threading import Timer

    code = 128 + _signals_taken[0]
    try:
        Timer(_SHOWING_SECONDS, os._exit, [code]).start()  # the reader may have gone to sleep
        sys.stderr.write("\nstopped\n")
        sys.stderr.flush()
        sys.stdout.flush()
    finally:  # also where stdout is full
        # A worker deep in a network would keep an orderly exit waiting.
        os._exit(code)


def _prepare_process(debug: bool) -> None:
    import logging
    import warnings

    from petclassify.streams import prepare_streams
    from petclassify.terminal import printable

    class Escaping(logging.Formatter):
        """Messages name files, whose names must not break a line or command a terminal."""

        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
            return printable(record.message)

    prepare_streams()
    # A notebook's, which its commands inherit, may be unknown here; nothing is shown on a screen.
    os.environ["MPLBACKEND"] = "agg"
    # timm imports torch's compiler, which makes sure of a folder for what it compiles: nothing.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", sys.prefix)
    handler = logging.StreamHandler()
    handler.setFormatter(Escaping())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("petclassify").setLevel(logging.DEBUG if debug else logging.INFO)
    if not debug:
        logging.getLogger("PIL").setLevel(logging.CRITICAL)  # its exceptions say the same
        warnings.simplefilter("ignore")
        # It says in two long lines where it keeps its fonts when HOME cannot be written.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _explain(error: Exception) -> tuple[str, int]:
    """One line and the exit code for whatever a command raised."""
    from typer.exceptions import TyperException

    from petclassify.errors import ExitCode, PetclassifyError
    from petclassify.system_faults import fault_of_system
    from petclassify.terminal import printable

    error = fault_of_system(error) or error
    if isinstance(error, PetclassifyError):
        return f"{_ERROR} {printable(str(error))}", error.exit_code
    if isinstance(error, TyperException):
        message = error.format_message()
        # A command without arguments raises its help text, which speaks for itself.
        if not message.startswith("Usage:"):
            message = f"{_ERROR} {printable(_plainly(error, message))}"
        return message, ExitCode.USAGE
    return (
        f"bug in petclassify: {type(error).__name__}: {printable(str(error))}. "
        "Run again with --debug for the details, and please report it",
        ExitCode.BUG,
    )


def _plainly(error: Exception, message: str) -> str:
    """Typer's message in the words of people, and where to look."""
    for theirs, ours in (
        ("a valid int range", "a whole number"),
        ("a valid float range", "a number"),
    ):
        message = message.replace(theirs, ours)
    for name in ("draw", "fetch", "check", "preview"):
        message = message.replace(
            f"No such command '{name}'.", f"No such command '{name}'. Did you mean 'data {name}'?"
        )
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "petclassify"
    if message.startswith("Got unexpected extra") and _takes_model(context):
        message += ". A model is given with --model"
    return f"{message.rstrip('.')}{'' if message.endswith('?') else '.'} See {command} --help"


def _takes_model(context: Context | None) -> bool:
    parameters = context.command.params if context else ()
    return any("--model" in parameter.opts for parameter in parameters)


if __name__ == "__main__":
    main()
