"""Machine code for the sums over the actions of a row: `rows.cpp` for rows in the processor's memory."""

__all__: list[str] = []
