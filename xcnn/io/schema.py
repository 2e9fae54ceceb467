"""The JSON Schema of a run's configuration."""

from __future__ import annotations

from typing import Any

from xcnn.io.config import RunConfig

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a run's configuration, for editors.

    Returns
    -------
    dict
        Of draft 2020-12; the same from every version of pydantic.
    """
    schema = _tidy(RunConfig.model_json_schema(by_alias=True))
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of xcnn",
        "description": "What `xcnn train` reads.",
    }
    return (
        head
        | {key: schema[key] for key in ("type", "properties", "required", "additionalProperties")}
        | {"$defs": dict(sorted(schema["$defs"].items()))}
    )


def _tidy(value: Any) -> Any:
    """Leave out what versions of pydantic write differently and nobody needs."""
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "allOf" in value and len(value["allOf"]) == 1:
        value = {**value["allOf"][0], **{key: item for key, item in value.items() if key != "allOf"}}
    drop = {"title"} if not isinstance(value.get("title"), dict) else set()
    if "const" in value:
        drop |= {"enum", "type"}
    return {key: _tidy(item) for key, item in value.items() if key not in drop}
