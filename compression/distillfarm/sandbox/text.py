"""Makes foreign text safe to show: one line, no control characters, a bounded length."""

import unicodedata

LINE_CHARACTERS = 400


def one_line(text: str, limit: int = LINE_CHARACTERS) -> str:
    """``text`` in one line of at most ``limit`` characters, without escapes and controls.

    A name in a model file may hold newlines, terminal escapes or ten megabytes.
    """
    clipped = text[: 4 * limit]
    visible = "".join(each if _shows(each) else " " for each in clipped)
    line = " ".join(visible.split())
    return line if len(line) <= limit and len(text) == len(clipped) else f"{line[: limit - 1]}…"


def _shows(character: str) -> bool:
    return character == " " or not unicodedata.category(character).startswith(("C", "Z"))
