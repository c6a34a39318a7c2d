"""The methods by name: `@register("iic")` for ours, the entry-point group `clusterbench.methods` for other people's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.registry import Registry

if TYPE_CHECKING:
    from .base import Method

methods: Registry[type[Method]] = Registry("method", "clusterbench.methods", Path(__file__).parent, "clusterbench.methods")
register = methods.register
