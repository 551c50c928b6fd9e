"""Answers as JSON that any text survives in, names with broken UTF-8 included."""

from __future__ import annotations

import json

from starlette.responses import JSONResponse


class Answer(JSONResponse):
    """JSON in ASCII: a lone surrogate, which UTF-8 cannot hold, is escaped like the rest."""

    def render(self, content: object) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
