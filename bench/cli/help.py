"""What the help texts share."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """An epilogue of command lines that work as they stand."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"[cyan]{line}[/cyan]" for line in lines)])
