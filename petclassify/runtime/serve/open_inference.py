"""The Open Inference Protocol (KServe V2, as Triton, Seldon and KServe speak it) over REST.

Its tensors are the model file's own: `images` are windows that are resized and cropped
already. Numbers come as JSON; the binary extension is left out, since a client that wants
speed posts photos, a tenth of the size, to /predict.

Source: the protocol's "HTTP/REST" section; arrays are row-major, nested or flat.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import petclassify
from petclassify.errors import ImageError
from petclassify.runtime.classifier import Prediction
from petclassify.runtime.model_file import FAMILIARITY, INPUT, PROBABILITIES
from petclassify.runtime.serve.answers import JsonAnswer
from petclassify.runtime.serve.intake import MAX_PHOTOS, Refusal, body_of
from petclassify.runtime.serve.service import Service

MAX_JSON_BYTES = 4 * 2**20  # Python parses JSON with its lock held: 10 MiB stop /livez for a second
_OUTPUTS = (PROBABILITIES, FAMILIARITY)


def list_routes(service: Service) -> list[Route]:
    """The protocol's routes; one model, whose versions have no names."""
    endpoints = _Endpoints(service)
    return [
        Route("/v2", endpoints.server),
        Route("/v2/health/live", endpoints.live),
        Route("/v2/health/ready", endpoints.ready),
        Route("/v2/models/{name}", endpoints.model),
        Route("/v2/models/{name}/ready", endpoints.model_ready),
        Route("/v2/models/{name}/infer", endpoints.infer, methods=["POST"]),
    ]


class _Endpoints:
    """Answers about one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._side = service.classifier.info.preprocessing.crop

    async def server(self, _: Request) -> Response:
        """Who speaks the protocol here."""
        said = {"name": "petclassify", "version": petclassify.__version__, "extensions": []}
        return JsonAnswer(said)

    async def live(self, _: Request) -> Response:
        """The process answers."""
        return JsonAnswer({"live": True})

    async def ready(self, _: Request) -> Response:
        """Whether new work may be sent."""
        ready = not self._service.stopping
        return JsonAnswer({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        """Whether the model may be asked."""
        self._check_name(request)
        ready = not self._service.stopping
        said = {"name": self._service.name, "ready": ready}
        return JsonAnswer(said, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """The model's tensors."""
        self._check_name(request)
        classes = len(self._service.classifier.class_names)
        return JsonAnswer(
            {
                "name": self._service.name,
                "platform": "onnxruntime_onnx",
                "inputs": [
                    {"name": INPUT, "datatype": "UINT8", "shape": [-1, self._side, self._side, 3]}
                ],
                "outputs": [
                    {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, classes]},
                    {"name": FAMILIARITY, "datatype": "FP32", "shape": [-1]},
                ],
            }
        )

    async def infer(self, request: Request) -> Response:
        """Classify windows."""
        self._check_name(request)
        self._service.admit()
        async with body_of(request, self._service.memory, MAX_JSON_BYTES) as body:
            asked = await self._service.parse(lambda: read_request(body, self._side))
            request.state.photos = len(asked.windows)
            outcomes = await self._service.classify(list(asked.windows))
        predictions = [one for one in outcomes if not isinstance(one, ImageError)]
        answer: dict[str, object] = {"model_name": self._service.name}
        if asked.request_id is not None:
            answer["id"] = asked.request_id
        answer["outputs"] = [_tensor(name, predictions) for name in asked.outputs]
        return JsonAnswer(answer)

    def _check_name(self, request: Request) -> None:
        if request.path_params["name"] != self._service.name:
            raise Refusal(404, "no_model", f"no such model; there is {self._service.name!r}")


@dataclass(frozen=True, eq=False)
class InferRequest:
    """What a request asks: its id, windows (N, side, side, 3), and which outputs."""

    request_id: str | None
    windows: NDArray[np.uint8]
    outputs: list[str]


def read_request(body: bytes, side: int) -> InferRequest:
    """Read an inference request.

    Raises:
        Refusal: it is not one that this model can answer.

    """
    # Each list takes long to parse; of pixels, "[0,0,0]," is the shortest.
    if body.count(b"[") + body.count(b"{") > 1000 + len(body) // 7:
        raise _bad("the body holds more lists than pixels")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body is not JSON: {error}") from None
    match said:
        case {"inputs": [{"name": str(name), "shape": [*shape], "datatype": datatype, **rest}]}:
            if name != INPUT:
                raise _bad(f"there is no input {name!r}; there is {INPUT!r}")
            if datatype != "UINT8":
                raise _bad(f"{INPUT} must be UINT8, not {datatype}")
        case _:
            raise _bad("expected one input with name, shape, datatype and data")
    windows = _read_windows(shape, rest.get("data"), side)
    request_id = said.get("id")
    return InferRequest(
        None if request_id is None else str(request_id), windows, _asked_outputs(said)
    )


def _read_windows(shape: list[Any], data: object, side: int) -> NDArray[np.uint8]:
    if (
        len(shape) != 4
        or not all(type(size) is int for size in shape)
        or shape[1:] != [side, side, 3]
        or not 1 <= shape[0] <= MAX_PHOTOS
    ):
        raise _bad(f"the shape must be [N, {side}, {side}, 3] with N from 1 to {MAX_PHOTOS}")
    if not isinstance(data, list):
        raise _bad(f"{INPUT} has no data; the binary extension is not supported")
    try:
        # As objects: where one value is text, NumPy would make room for its length in each place.
        values = np.array(data, dtype=object).ravel().tolist()
    except ValueError:
        raise _bad("the data is ragged") from None
    if len(values) != math.prod(shape):
        raise _bad(f"the data holds {len(values)} values, the shape asks for {math.prod(shape)}")
    if set(map(type, values)) != {int} or min(values) < 0 or max(values) > 255:
        raise _bad("the data must be whole numbers from 0 to 255")
    return np.array(values, dtype=np.uint8).reshape(shape)


def _asked_outputs(said: dict[str, Any]) -> list[str]:
    match said.get("outputs") or []:
        case []:
            return list(_OUTPUTS)
        case [*wanted] if all(isinstance(o, dict) and o.get("name") in _OUTPUTS for o in wanted):
            names = [output["name"] for output in wanted]
            if len(set(names)) < len(names):  # or a small request could ask for gigabytes
                raise _bad("outputs must name each only once")
            return names
        case _:
            raise _bad(f"outputs must name some of {', '.join(_OUTPUTS)}")


def _tensor(name: str, predictions: list[Prediction]) -> dict[str, object]:
    if name == PROBABILITIES:
        rows = [list(one.probabilities.values()) for one in predictions]
        shape, data = [len(rows), len(rows[0])], [p for row in rows for p in row]
    else:
        shape, data = [len(predictions)], [one.familiarity for one in predictions]
    return {"name": name, "datatype": "FP32", "shape": shape, "data": data}


def _bad(why: str) -> Refusal:
    return Refusal(400, "bad_request", why)
