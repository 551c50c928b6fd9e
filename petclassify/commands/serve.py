"""The command that answers over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from petclassify.commands.shared import chosen_model, collect_from_now_on, require_extra
from petclassify.options import ModelOption
from petclassify.terminal import printable

SERVE_MODULES = ("starlette", "uvicorn", "python_multipart", "prometheus_client")


def serve(
    model: ModelOption = None,
    host: Annotated[
        str,
        typer.Option(
            rich_help_panel="Address", metavar="IP", help="0.0.0.0: all addresses of this machine."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(rich_help_panel="Address", min=0, max=65535, help="0 takes any free one."),
    ] = 8000,
) -> None:
    """Answer over HTTP, with a page to drop photos on.

    Examples:
        petclassify serve                        # then open http://127.0.0.1:8000
        petclassify serve --model models/latest  # the last run's model

    """
    require_extra("serve", SERVE_MODULES)
    from petclassify.runtime.model_file import model_name
    from petclassify.runtime.serve.gate import is_loopback
    from petclassify.runtime.serve.run import serve as run

    collect_from_now_on()
    chosen = chosen_model(model)
    if not is_loopback(host):
        typer.echo(
            f"warning: whoever can reach {printable(host)} can use this server; "
            "it asks for no password",
            err=True,
        )
    name = printable(model_name(chosen))
    run(chosen, host, port, lambda address: typer.echo(f"serving {name} on {address}"))
