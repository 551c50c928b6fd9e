"""Answers in JSON that any name survives.

What is not ASCII is escaped, as in `predict --format jsonl`. Starlette's own JSONResponse sends
UTF-8, in which names of files and classes that are not UTF-8 (lone surrogates) have no form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


class JsonAnswer(Response):
    """Content as JSON in ASCII."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401  # as starlette types it
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def refusal(
    path: str, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> JsonAnswer:
    """Why a request is not answered, in the words of the protocol that its path speaks.

    Args:
        path: that was asked for.
        status: of HTTP.
        kind: one word for programs.
        message: one sentence for people.
        headers: to send with it.

    """
    speaks_open_inference = path == "/v2" or path.startswith("/v2/")
    error = message if speaks_open_inference else {"kind": kind, "message": message}
    return JsonAnswer({"error": error}, status, headers)
