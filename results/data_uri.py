"""Pictures inside a page, as text."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


def data_uri(image: Image, form: str, **options: Any) -> str:
    """`image` as a data URI; `form` is Pillow's name of the format, `options` are what its writer takes."""
    written = io.BytesIO()
    image.save(written, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
