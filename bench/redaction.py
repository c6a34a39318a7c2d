"""What is taken out of command lines before they are written down."""

from __future__ import annotations

import re

HIDDEN = "://***@"


def without_passwords(text: str) -> str:
    """`text` with what stands before the @ of a URL's host replaced by stars."""
    return re.sub(r"://[^/@\s]+@", HIDDEN, text)
