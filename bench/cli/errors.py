"""One line for what went wrong, on standard error."""

from __future__ import annotations

import sys

import typer

# Errors that users cause and whose message is already the answer, by the module that defines them.
_SPEAK_FOR_THEMSELVES = {
    "datasets.errors": ("DataError",),
    "datasets.registry": ("NotFound",),
    "methods.base": ("MethodError",),
    "results.files": ("RecordError",),
    "results.mlflow_sink": ("TrackingError",),
    "bench.spec": ("SpecError",),
}


def say(message: str) -> None:
    """Print a line that starts with `bench:` on standard error."""
    typer.echo(f"bench: {message}", err=True)


def one_line(error: BaseException) -> str:
    """What a user needs to know about `error`: its own message, or for an unforeseen one its type and how to see more."""
    message = " ".join(str(error).split())
    if is_users(error):
        return message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {message or 'no message'}. Add --debug to see where."


def is_users(error: BaseException) -> bool:
    """Whether `error` is one of ours, whose message says what to do.

    Imports nothing: what raised it has loaded the module that defines it.
    """
    package = __name__.rsplit(".", 3)[0]
    for module, names in _SPEAK_FOR_THEMSELVES.items():
        loaded = sys.modules.get(f"{package}.{module}")
        if loaded and any(isinstance(error, getattr(loaded, name)) for name in names):
            return True
    return False
