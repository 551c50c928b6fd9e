"""Answers in JSON that any name survives.

What is not ASCII is escaped, as in `predict --format jsonl`. Starlette's own JSONResponse sends
UTF-8, in which names of files and classes that are not UTF-8 (lone surrogates) have no form.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


class JsonAnswer(Response):
    """Content as JSON in ASCII."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401  # as starlette types it
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
