"""Machine code for sums over the actions of a row: in C++ on the processor, in Triton on a CUDA device."""

__all__: list[str] = []
