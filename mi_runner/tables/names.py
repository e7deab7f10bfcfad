"""Words that stand in columns that name rows."""

from __future__ import annotations

ALL, NONE = "all", "none"
"""Values of a column that names rows: all rows together; no row. pandas would take an empty name as missing and leave
it out of groups."""
