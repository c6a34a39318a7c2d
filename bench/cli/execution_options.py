"""The options that say how networks are executed, for every command that trains: they change a result by rounding only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...methods.kit.execution import Execution

_PANEL = "Speed (the record names it; it is no part of what makes a trial)"

Compile = Annotated[
    bool, typer.Option("--compile", help="Compile networks with torch.compile: minutes at first.", rich_help_panel=_PANEL)
]
CudaGraphs = Annotated[
    bool, typer.Option("--cuda-graphs", help="With --compile on a GPU: launch a network as one.", rich_help_panel=_PANEL)
]
Fused = Annotated[
    bool | None,
    typer.Option(
        "--fused/--no-fused", help="Optimisers of one kernel.", show_default="as the method chose", rich_help_panel=_PANEL
    ),
]
ChannelsLast = Annotated[
    bool, typer.Option("--channels-last/--no-channels-last", help="Layout of images in memory.", rich_help_panel=_PANEL)
]


def execution_of(compiled: bool, cuda_graphs: bool, fused: bool | None, channels_last: bool) -> Execution:
    """The switches that these options set. Imports torch."""
    from ...methods.kit.execution import Execution

    return Execution(channels_last, fused, compiled, cuda_graphs)
