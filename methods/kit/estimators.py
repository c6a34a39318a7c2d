"""Clusterers of other libraries by the dotted path of their class: what they take, checked before anything is fitted."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import pkgutil
import re
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, Field, create_model

from ...datasets.registry import NotFound
from ..base import MethodConfig

PACKAGES = {"sklearn": "scikit-learn"}  # what pip calls the package of a module, where it is not the module's own name
COUNTS = ("n_clusters", "n_components")  # parameters that are the number of clusters; of a mixture it is its components
INFINITE = {"inf": math.inf, "-inf": -math.inf}  # what JSON has no number for


class Estimator:
    """A class with scikit-learn's interface: settings in its constructor, `fit_predict`, perhaps `predict`.

    Args:
        path: dotted path of the class, e.g. `sklearn.cluster.BisectingKMeans`.

    Attributes:
        made_of: the class.
        count: name of the parameter that is the number of clusters; None if the clusterer finds that itself.
        given: the parameters that follow from the trial and are no settings.

    Raises:
        NotFound: it cannot be imported, or it is no clusterer; with the nearest names.
    """

    def __init__(self, path: str) -> None:
        self.path, self.made_of = path, _clusterer(path)
        declared = inspect.signature(self.made_of).parameters.values()
        named = [each for each in declared if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        self.parameters = {each.name: each.default for each in named}
        self.count = next((name for name in COUNTS if name in self.parameters), None)
        self.given = {self.count, "random_state", "device"} & self.parameters.keys()

    def config(self, base: type[MethodConfig]) -> type[MethodConfig]:
        """`base` with a field for each parameter that a setting can express.

        A parameter whose default is no plain value (a class, a function) keeps it and has no field.

        Raises:
            NotFound: a parameter has the name of a field of `base`.
        """
        fields: dict[str, Any] = {}
        for name, default in self.parameters.items():
            if name in base.model_fields:
                raise NotFound(f"{self.path} takes a parameter {name!r}, which is a setting of ours: it cannot be wrapped.")
            if name not in self.given and not name.startswith("_") and (default is inspect.Parameter.empty or is_plain(default)):
                usual = ... if default is inspect.Parameter.empty else as_plain(default)
                checked = Annotated[Any, AfterValidator(self._check_of(name))]
                fields[name] = (checked, Field(default=usual, description=self._described(name)))
        with warnings.catch_warnings():  # `copy` is a parameter here and there, and a method that pydantic no longer uses
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            return create_model(f"{self.made_of.__name__}Config", __base__=base, **fields)

    def build(self, n_clusters: int, seed: int, device: str, settings: Mapping[str, Any]) -> Any:
        """An unfitted clusterer."""
        given = {self.count: n_clusters, "random_state": seed % 2**32, "device": device}
        follow = {name: value for name, value in given.items() if name in self.given}
        return self.made_of(**{name: from_plain(value) for name, value in settings.items()}, **follow)

    def _check_of(self, name: str) -> Callable[[Any], Any]:
        """A validator of one parameter, by the class's own check of it where it has one."""

        def check(value: Any) -> Any:
            required = [each for each, default in self.parameters.items() if default is inspect.Parameter.empty]
            if set(required) <= {name, self.count}:
                known = {self.count: 2} if self.count in required else {}
                try:
                    built = self.made_of(**known, **{name: from_plain(value)})
                    if hasattr(built, "_parameter_constraints"):  # scikit-learn's own; its base class alone declares none
                        built._validate_params()
                except Exception as error:  # somebody else's code: whatever it raises says what it does not take
                    raise ValueError(str(error).partition(" Got ")[0]) from None
            return value

        return check

    def _described(self, name: str) -> str:
        """What the class's documentation says of a parameter's type, if it is written as NumPy's habits are."""
        for documented in (self.made_of.__doc__, self.made_of.__init__.__doc__):
            found = re.search(rf"^\s*{re.escape(name)} ?: (.+)$", documented or "", re.MULTILINE)
            if found:
                return found[1].strip()
        return ""


def is_plain(value: Any) -> bool:
    """Whether JSON, with words for the infinities, has it."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or (type(value) in (bool, int, float, str) and value == value)


def as_plain(value: Any) -> Any:
    """A default as a setting: the infinities as words, tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return next((word for word, number in INFINITE.items() if type(value) is float and value == number), value)


def from_plain(value: Any) -> Any:
    """A setting as the parameter that it stands for."""
    return INFINITE.get(value, value) if isinstance(value, str) else value


def _clusterer(path: str) -> Any:
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise NotFound(f"{path!r} is no dotted path of a class. For example: sklearn.cluster.BisectingKMeans")
    module = _imported(module_name)
    found = getattr(module, class_name, None)
    if found is None:
        known = [name for name, each in vars(module).items() if isinstance(each, type) and hasattr(each, "fit_predict")]
        raise NotFound(f"{module_name} has no {class_name!r}.{_near(class_name, known)}")
    if not isinstance(found, type) or not hasattr(found, "fit_predict"):
        raise NotFound(f"{path} is no clusterer: it must be a class with fit_predict.")
    return found


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if missing != name and not name.startswith(f"{missing}."):
            raise NotFound(
                f"{name} cannot be loaded, as it needs {missing}: pip install {PACKAGES.get(missing, missing)}"
            ) from None
        parent, _, last = missing.rpartition(".")
        if not parent:
            where = f"pip install {PACKAGES.get(missing, missing)}, or, if it is a file of yours, put its folder on PYTHONPATH"
            raise NotFound(f"There is no module {missing!r} here: {where}.") from None
        paths = getattr(importlib.import_module(parent), "__path__", ())
        raise NotFound(f"{parent} has no {last!r}.{_near(last, [each.name for each in pkgutil.iter_modules(paths)])}") from None
    except Exception as error:  # somebody else's code: whatever it raises, the user needs to know whose it is
        raise NotFound(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error


def _near(asked: str, known: list[str]) -> str:
    near = difflib.get_close_matches(asked, known, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(map(repr, near))}?"
    return f" Known: {', '.join(sorted(known))}." if known else ""
