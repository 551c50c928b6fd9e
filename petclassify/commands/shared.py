"""What several commands do alike, before and after the one call that does the work."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from petclassify.errors import EnvironmentFault
from petclassify.files import is_working_folder_gone
from petclassify.options import FigureFormat
from petclassify.system_faults import WORKING_FOLDER_GONE
from petclassify.terminal import printable

TRAIN_MODULES = (
    *("torch", "torchvision", "timm", "huggingface_hub", "onnx", "safetensors", "lightning_fabric"),
    *("sklearn", "threadpoolctl", "matplotlib", "platformdirs", "rich", "filelock"),
    *("jinja2", "cleanlab", "captum"),
)


REPORT_MODULES = ("matplotlib", "jinja2")


def require_extra(extra: str, modules: Sequence[str]) -> None:
    """Refuse, with the install line, what needs packages that are not here.

    Raises:
        EnvironmentFault: one of the modules is missing, or torch could not be loaded.

    """
    if extra == "train":
        _require_working_folder()
    missing = missing_modules(modules)
    if missing:
        raise EnvironmentFault(f"this command {install_line(missing, extra)}")


def _require_working_folder() -> None:
    """Without one, the libraries of torch's x86 builds end the process."""
    if is_working_folder_gone():
        raise EnvironmentFault(WORKING_FOLDER_GONE)


def missing_modules(modules: Sequence[str]) -> list[str]:
    """Those that are not installed."""
    return [module for module in modules if importlib.util.find_spec(module) is None]


def install_line(missing: Sequence[str], extra: str) -> str:
    """What is missing, and how to get it."""
    return (
        f"needs {', '.join(missing)}, which the base install leaves out. "
        f"Run: pip install 'petclassify[{extra}]'"
    )


def command_line() -> str:
    """The line that was given, as a shell would take it."""
    return shlex.join(["petclassify", *sys.argv[1:]])


def located(data: Path, data_root: Path) -> Path:
    """The folder that DATA names; of a public set the pictures, fetched if they are not there."""
    from petclassify.learn.data.public_data import prepare

    return prepare(data, data_root)


def chosen_model(model: Path | None) -> Path:
    """The model asked for, by path or as `catsdogs`, else the default, which is named on stderr."""
    from petclassify.runtime.model_file import model_name, named_run
    from petclassify.runtime.predict import SHIPPED, default_model, shipped_model

    if model is not None:
        model = named_run(model)
        is_shipped = model == Path(Path(SHIPPED).stem) and not model.exists()
        return (shipped_model() if is_shipped else None) or model
    found = default_model()
    whose = f" ({model_name(found)})"  # models/latest does not tell which run it is
    if found == shipped_model():
        why = "names no model" if os.path.lexists("models/latest") else "is not here"
        whose = f", which ships: models/latest {why}"
    typer.echo(printable(f"model: {found}{whose}"), err=True)
    return found


def collect_from_now_on() -> None:
    """Call it when all is imported: `__main__` starts with the garbage collector off.

    Collections while torch is imported take a second of 4.6 s; `predict` gains a tenth.
    """
    gc.freeze()
    gc.enable()


def show_as(output_format: FigureFormat, content: object, lines: Iterable[str]) -> None:
    """Print lines for people, or the content as JSON."""
    if output_format == FigureFormat.JSON:
        typer.echo(json.dumps(content, indent=2))
    else:
        show(lines)


def show(lines: Iterable[str]) -> None:
    """Print lines; what could command a terminal is escaped."""
    for line in lines:
        typer.echo(printable(line))


def terminal_width() -> int:
    """Columns of the terminal; a file or a pipe takes any number."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
