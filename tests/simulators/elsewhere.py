"""A device that every machine has: tensors that say they lie elsewhere and refuse to meet those of the host.

What they hold is computed on the processor, so that results can be compared; the label they carry is that of
torch's "meta" device. As on an accelerator, an operation fails that mixes labelled tensors with others,
scalars aside, or that reads labelled numbers into an array without bringing them home.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE, HOST = torch.device("meta"), torch.device("cpu")


class Away(torch.Tensor):
    """A tensor of the host under a foreign label."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=ELSEWHERE
        )

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Operations(TorchDispatchMode):
    operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = _run(func, args, kwargs or {})
        self.operations += any(isinstance(x, Away) for x in tree_leaves(result))
        return result


class _Constants(TorchFunctionMode):
    """Let constants keep their data, which the true meta device drops, and let lists be made of it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in {torch.tensor, torch.as_tensor} and kwargs.get("device") is not None:
            return func(*args, **kwargs | {"device": HOST}).to(kwargs["device"])
        if func is torch.Tensor.tolist:
            return func(args[0].cpu())
        return func(*args, **kwargs)


def run_elsewhere(call):
    """Return call(device) and the number of operations whose result lay on that device."""
    with _Constants(), _Operations() as counter:
        return call(ELSEWHERE), counter.operations


def _run(func, args, kwargs):
    """Run on the held tensors, after looking that all lie on one device; label what comes out."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    labelled = {id(x.held): x for x in tensors if isinstance(x, Away)}
    strays = [tuple(x.shape) for x in tensors if not isinstance(x, Away) and x.ndim]
    assert not (labelled and strays), f"{func} meets tensors of the host, of shape {strays}"
    asked = kwargs.get("device")
    device = torch.device(asked) if asked is not None else ELSEWHERE if labelled else HOST
    held = lambda x: x.held if isinstance(x, Away) else HOST if isinstance(x, torch.device) else x  # noqa: E731
    result = func(*tree_map(held, args), **tree_map(held, kwargs))
    away = lambda x: labelled.get(id(x), Away(x)) if isinstance(x, torch.Tensor) else x  # noqa: E731
    return tree_map(away, result) if device == ELSEWHERE else result
