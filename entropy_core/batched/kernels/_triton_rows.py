"""The sums of `entropy_core.batched._sums` over runs of a row, for rows in the memory of a CUDA device.

Kernels in Triton, compiled at the first call in some seconds and kept in the user's cache. The functions are
those of `_rows`, with the same fields, in float64:

    serve(*tensors)              whether all are on a CUDA device and Triton is there
    policy(z, scale)             [5, rows, runs]   fields of `_sums.policy_terms`
    step(z, u)                   [15, rows, runs]  fields of `_sums.step_terms`
    moved(z, u, peak, origin)    [5, rows, runs]   fields of `_sums.moved_terms`
    pullback(z, out, scale, per_row)               e^a (level + slope a + bend a²) into `out`

A program of one warp reads a run of a row, block after block. It keeps a peak, and about that peak sums by
lane in float64: what a thread holds of a block is added in float32, which is at most a few dozen terms.
"""

__all__: list[str] = []
