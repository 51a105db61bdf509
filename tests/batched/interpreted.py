"""Run Triton kernels on the processor: what TRITON_INTERPRET=1 does before Triton is imported, done after.

Triton's interpreter carries out a kernel program by program in NumPy. The variable would hold for a whole
process and for all that it starts, so that here the functions of the given modules are exchanged instead.
"""

import contextlib
import warnings
from unittest import mock

import numpy as np
import pytest

triton = pytest.importorskip("triton", reason="there is no Triton here: it is made for Linux")
tl = triton.language
if triton.__version__ < "3.7" and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
    pytest.skip(
        "the interpreter of Triton 3.6 takes arrays for numbers, as NumPy did before 2.4",
        allow_module_level=True,
    )


def kept_promise(function, name):
    """Return what the interpreter puts for `tl.multiple_of` and its like: it believes, here it looks.

    A device would read from an address that is none.
    """

    def promise(x, values):
        if name == "tt.divisibility":
            assert not (x.handle.data % np.asarray(values, x.handle.data.dtype)).any(), "not a multiple"
        return function(x, values, name)

    return promise


@contextlib.contextmanager
def interpreting(*modules):
    """Run the kernels of these modules in NumPy, in which infinities and NaN are no errors."""
    from triton.runtime import interpreter

    function = interpreter.InterpretedFunction
    with contextlib.ExitStack() as stack, triton.knobs.runtime.scope(), np.errstate(all="ignore"):
        stack.enter_context(warnings.catch_warnings())  # of Triton 3.6, whose arrays stand for numbers
        warnings.filterwarnings("ignore", "Conversion of an array", DeprecationWarning)
        triton.knobs.runtime.interpret = True
        for module in (tl, tl.standard, *modules):
            for name, member in list(vars(module).items()):
                if isinstance(member, triton.JITFunction):
                    stack.enter_context(mock.patch.object(module, name, function(member.fn)))
        # a function called by a kernel finds the language exchanged already, and need not do it again
        stack.enter_context(mock.patch.object(interpreter, "partial", kept_promise))
        stack.callback(interpreter._patch_lang(tl.standard.sum.fn).restore)
        call = mock.patch.object(function, "__call__", lambda self, *a, **k: self.rewrite()(*a, **k))
        stack.enter_context(call)
        yield
