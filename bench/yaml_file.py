"""YAML files that users write: settings, suites, spaces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .spec import SpecError


class SettingsLoader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as people write it; YAML 1.1 asks for 1.0e-3."""


SettingsLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+0123456789.")
)


def read_yaml(path: Path | str, what: str, loader: type[yaml.SafeLoader] = SettingsLoader) -> Any:
    """The content of a file. Raises `SpecError` if it is missing, cannot be read, or is not YAML.

    Args:
        path: of the file.
        what: it is, for the message: `config file`.
        loader: what makes values of its text.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=loader)
    except FileNotFoundError:
        raise SpecError(f"There is no {what} {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"Cannot read the {what} {path}: {error}.") from None
    except yaml.YAMLError as error:
        raise SpecError(f"The {what} {path} is not YAML: {' '.join(str(error).split())}.") from None
