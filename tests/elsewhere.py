"""A device that no machine has: tensors on it compute as on the CPU, and refuse to meet tensors that stayed behind.

What only a GPU would complain of, such as a mask that nobody moved, shows without one. The device goes by the name "lazy", which torch
knows; kernels, streams and autocast of a GPU are not there, which `test_cuda.py` is for.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("lazy:0")
MOVES = ("_to_copy", "copy_")  # bring tensors from one device to the other


class Elsewhere(torch.Tensor):
    """A tensor on `DEVICE`; ``inner`` holds its values, on the CPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        like = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype, "device": DEVICE}
        return torch.Tensor._make_wrapper_subclass(cls, inner.size(), **like)

    def __init__(self, inner: torch.Tensor):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _called(function, args, kwargs or {})


def _called(function, args, kwargs):
    """One of torch's operations, on the device if a tensor is there or if the call names it."""
    name, given = function._schema.name.removeprefix("aten::"), tree_flatten((args, kwargs))[0]
    there = [value for value in given if isinstance(value, Elsewhere)]
    # A single number may come from the CPU, and so may indices.
    here = [v for v in given if isinstance(v, torch.Tensor) and not isinstance(v, Elsewhere) and v.dim()]
    if there and here and name not in MOVES and not (name == "index" and isinstance(args[0], Elsewhere)):
        on, off = ([tuple(value.shape) for value in values] for values in (there, here))
        raise RuntimeError(f"{name}: expected all tensors on one device, but {on} are on {DEVICE} and {off} on the CPU")
    goes = isinstance(args[0], Elsewhere) if name == "copy_" else bool(there)
    if kwargs.get("device") is not None:
        goes = torch.device(kwargs["device"]).type == DEVICE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda value: value.inner if isinstance(value, Elsewhere) else value, (args, kwargs))
    changed = {id(value.inner): value for value in there}  # in place: it is the same tensor still

    def brought(value):
        if not isinstance(value, torch.Tensor) or not goes:
            return value
        return changed[id(value)] if id(value) in changed else Elsewhere(value)

    return tree_map(brought, function(*args, **kwargs))


class _Calls(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _called(function, args, kwargs or {})


class _Numbers(TorchFunctionMode):
    """What makes tensors of Python's numbers, or numbers of tensors, or others of either, without a call that the dispatcher sees."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") == DEVICE:
            return function(*args, **{**kwargs, "device": None}).to(DEVICE)
        if function is torch._has_compatible_shallow_copy_type:
            return False  # a module that is moved gets new parameters
        if function is torch.Tensor.tolist:
            return function(args[0].cpu())
        if function == torch.Tensor.data.__set__ and isinstance(args[0], Elsewhere):
            args[0].inner = args[1].inner
            return None
        if function is torch.Tensor.__getitem__ and isinstance(args[1], list):
            return args[0][torch.tensor(args[1])]
        return function(*args, **kwargs)


@contextlib.contextmanager
def elsewhere(monkeypatch) -> Iterator[torch.device]:
    """Gives the device, to which modules and tensors may be moved for as long as the block lasts."""
    begin = torch.autocast.__init__

    def begin_here(self, device_type, *args, **kwargs):
        begin(self, "cpu" if device_type == DEVICE.type else device_type, *args, **kwargs)

    with monkeypatch.context() as patch, _Calls(), _Numbers():
        patch.setattr(torch.autocast, "__init__", begin_here)
        yield DEVICE
