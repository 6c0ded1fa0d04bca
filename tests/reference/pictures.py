"""Finds pictures in bytes: by the signatures of common formats, as such and in base64."""

import re

SIGNATURES = {
    "png": rb"\x89PNG\r\n\x1a\n",
    "jpeg": rb"\xff\xd8\xff[\xc0-\xfe]",
    "gif": rb"GIF8[79]a",
    "webp": rb"RIFF.{4}WEBP",
    "tiff": rb"II\*\x00|MM\x00\*|II\+\x00\x08\x00|MM\x00\+\x00\x08",
    "data URI": rb"data:image/",
    "png in base64": rb"iVBORw0KGgo",
    "jpeg in base64": rb"/9j/[2-4]",
    "tiff in base64": rb"SUkqA|TU0AK",
}


def picture_formats(data: bytes) -> set[str]:
    """Names of the formats whose signature occurs anywhere in the bytes."""
    return {name for name, pattern in SIGNATURES.items() if re.search(pattern, data, re.DOTALL)}
