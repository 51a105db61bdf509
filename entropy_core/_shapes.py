"""Shape annotations: jaxtyping's where it is installed (the tests enforce them), inert names elsewhere."""

from __future__ import annotations

try:
    from jaxtyping import Bool, Float, Int, Real
except ImportError:

    class _Inert:
        """Stand-in for a jaxtyping dtype: `Float[np.ndarray, "*batch actions"]` is then `np.ndarray`."""

        def __class_getitem__(cls, item):
            """Return the array type of an annotation and forget its shape."""
            return item[0]

    Bool = Float = Int = Real = _Inert

__all__ = ["Bool", "Float", "Int", "Real"]
