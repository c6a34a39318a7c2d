"""The settings of a method as rows: name, type, default and meaning, read from its `Config`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..terminal import yaml_line

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = dict[str, Any]
_LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def settings_of(config: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """Name (dotted where settings are nested, as `--set` takes it), type with its range, default, meaning."""
    schema = config.model_json_schema()
    yield from _rows(schema, schema.get("$defs", {}), "")


def _rows(schema: Schema, named: dict[str, Schema], prefix: str, given: Any = None) -> Iterator[tuple[str, str, str, str]]:
    for name, declared in schema.get("properties", {}).items():
        field = _followed(declared, named)
        default = given[name] if isinstance(given, dict) and name in given else declared.get("default", field.get("default"))
        if "properties" in field:
            yield from _rows(field, named, f"{prefix}{name}.", default)
        else:
            required = name in schema.get("required", ()) and default is None
            yield (
                f"{prefix}{name}",
                kind_of(field, named),
                "required" if required else yaml_line(default),
                declared.get("description", ""),
            )


def kind_of(field: Schema, named: dict[str, Schema]) -> str:
    """`integer > 0`, `none | l2 | standard`, `list of integer > 0`, ... for one JSON schema."""
    field = _followed(field, named)
    if "enum" in field or "const" in field:
        return " | ".join(yaml_line(value) for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(kind_of(each, named) for each in field["anyOf"]))
    kind = str(field.get("type", "any"))
    if kind == "array":
        items = [kind_of(each, named) for each in field.get("prefixItems", [])] or [kind_of(field.get("items", {}), named)]
        return f"list of {', '.join(dict.fromkeys(items))}"
    limits = [f"{sign} {field[word]:g}" for word, sign in _LIMITS.items() if word in field]
    return " ".join(["nothing" if kind == "null" else kind, " and ".join(limits)]).strip()


def _followed(field: Schema, named: dict[str, Schema]) -> Schema:
    """The schema that a reference stands for."""
    while "$ref" in field:
        field = named[field["$ref"].rpartition("/")[2]]
    return field
