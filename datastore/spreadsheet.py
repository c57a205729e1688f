"""Texts that a spreadsheet would take for formulas, made harmless by an apostrophe in front.

A spreadsheet takes a cell that begins with = + - @, a tab or a carriage return for a formula, and some skip
spaces before it. A text that has apostrophes before such a character already gets one more: whoever takes
one off has the text as it was. Numbers are left as they are, and so is a single character, such as a
polarity.
"""

from __future__ import annotations

import re

# DuckDB's own class of spaces is smaller than Python's, and both are to decide alike.
_SPACES = " \\t\\n\\r\\f\\v\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
FORMULA = rf"^'*([{_SPACES}]*[=+\-@＝＋－＠]|[\t\r])"
"""How such a text begins, for Python and DuckDB alike."""


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if re.match(FORMULA, text) and len(text.strip(" ")) > 1 else text


def harmless_sql(column: str) -> str:
    """The same as an expression of SQL over a column of texts."""
    pattern = FORMULA.replace("'", "''")
    return (
        f"CASE WHEN regexp_matches({column}, '{pattern}') AND length(trim({column})) > 1 "
        f"THEN '''' || {column} ELSE {column} END"
    )
