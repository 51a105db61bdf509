"""What every kernel of the book runs under, whoever starts it: one thread, fixed hashing, fixed dates.

No progress bars either: they would stand on the page of a slow build and not on that of a fast one.
"""

import os

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TQDM_DISABLE": "1",
}


def settle() -> None:
    """Put ENVIRONMENT into this process, so that every kernel it starts inherits it."""
    os.environ.update(ENVIRONMENT)
