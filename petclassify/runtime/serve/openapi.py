"""The OpenAPI 3.1 description, by hand: a dozen routes need no framework that derives it.

A test holds it against the routes, both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import petclassify
from petclassify.errors import ImageFault

Json = dict[str, Any]

_PREDICTION: Json = {
    "type": "object",
    "required": ["label", "probability", "probabilities", "known", "familiarity"],
    "properties": {
        "label": {"type": "string", "description": "The most probable class."},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
        "known": {
            "type": "boolean",
            "description": "If false, the photo is unlike all that the model learned from.",
        },
        "familiarity": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
_FAULT: Json = {
    "type": "object",
    "required": ["kind", "message"],
    "properties": {
        "kind": {
            "type": "string",
            "description": f"Of images: {', '.join(fault.value for fault in ImageFault)}.",
        },
        "message": {"type": "string"},
    },
}
_TENSOR: Json = {
    "type": "object",
    "required": ["name", "datatype", "shape", "data"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"enum": ["UINT8", "FP32"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "description": "Row-major, nested or flat."},
    },
}
_SCHEMAS: Json = {
    "Prediction": _PREDICTION,
    "Fault": _FAULT,
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"$ref": "#/components/schemas/Fault"}},
    },
    "Predictions": {
        "type": "object",
        "required": ["predictions"],
        "properties": {
            "predictions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                    "anyOf": [
                        {"$ref": "#/components/schemas/Prediction"},
                        {"$ref": "#/components/schemas/Error"},
                    ],
                },
            }
        },
    },
    "Tensor": _TENSOR,
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {"$ref": "#/components/schemas/Tensor"},
            },
            "outputs": {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
        },
    },
    "InferResponse": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        },
    },
    "OpenInferenceError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
}
_BODY_FAULTS = (400, 403, 408, 413, 415, 421, 503)
_IMAGE_FAULTS = (415, 422)


def describe_api(model: str) -> Json:
    """The whole description; `model` is the name that /v2/models knows."""
    name: Json = {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": [model]},
    }
    image: Json = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
    parts: Json = {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "additionalProperties": {"type": "string", "format": "binary"},
            }
        }
    }
    predicted = {
        "application/json": {
            "schema": {"anyOf": [_ref("Prediction"), _ref("Predictions")]},
        }
    }
    none_predicted = {
        "application/json": {"schema": {"anyOf": [_ref("Error"), _ref("Predictions")]}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "petclassify",
            "version": petclassify.__version__,
            "description": "Classifies photos. One photo is the body; several are multipart.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/": _get("The page to drop photos on.", "text/html"),
            "/page.js": _get("Its script.", "text/javascript"),
            "/style.css": _get("Its looks.", "text/css"),
            "/icon.svg": _get("Its icon.", "image/svg+xml"),
            "/predict": _post(
                "Classify one photo or several.",
                {**image, **parts},
                predicted,
                dict.fromkeys(_IMAGE_FAULTS, none_predicted),
            ),
            "/explain": _post(
                "Where the model looked: the photo under a heat map, dark where it did not look.",
                image,
                {"image/png": {"schema": {"type": "string", "format": "binary"}}},
                dict.fromkeys((404, *_IMAGE_FAULTS), _json("Error")),
            ),
            "/model": _get("What the model file says about itself, and the limits here."),
            "/livez": _get("The process answers.", "text/plain"),
            "/readyz": _get(
                "Photos may be sent; 503 while the server stops.", "text/plain", (503,)
            ),
            "/metrics": _get("Counters in Prometheus's text format.", "text/plain"),
            "/openapi.json": _get("This description."),
            "/v2": _get("Open Inference Protocol: the server."),
            "/v2/health/live": _get("Open Inference Protocol: the process answers."),
            "/v2/health/ready": _get("Open Inference Protocol: photos may be sent.", faults=(503,)),
            "/v2/models/{name}": {
                "parameters": [name],
                **_get("Open Inference Protocol: the model's tensors.", faults=(404,)),
            },
            "/v2/models/{name}/ready": {
                "parameters": [name],
                **_get("Open Inference Protocol: the model may be asked.", faults=(404, 503)),
            },
            "/v2/models/{name}/infer": {
                "parameters": [name],
                **_post(
                    "Open Inference Protocol: classify windows, resized and cropped already.",
                    _json("InferRequest"),
                    _json("InferResponse"),
                    {404: _json("OpenInferenceError")},
                    "OpenInferenceError",
                ),
            },
        },
        "components": {"schemas": _SCHEMAS},
    }


def _get(summary: str, media_type: str = "application/json", faults: Sequence[int] = ()) -> Json:
    responses: Json = {"200": {"description": summary, "content": {media_type: {}}}}
    for fault in faults:
        responses[str(fault)] = {"description": HTTPStatus(fault).phrase}
    return {"get": {"summary": summary, "responses": responses}}


def _post(
    summary: str, body: Json, answer: Json, faults: dict[int, Json], error: str = "Error"
) -> Json:
    responses: Json = {"200": {"description": summary, "content": answer}}
    said = dict.fromkeys(_BODY_FAULTS, _json(error)) | faults
    for fault in sorted(said):
        responses[str(fault)] = {"description": HTTPStatus(fault).phrase, "content": said[fault]}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": body},
            "responses": responses,
        }
    }


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _ref(schema)}}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
