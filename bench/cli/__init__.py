"""The command line, a file per command. Nothing here imports torch until a command needs it."""

from .app import main

__all__ = ["main"]
