"""CUDA graphs: calls of a network captured once and replayed, which spares a GPU the wait for every single kernel's launch."""

import contextlib
import gc
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .orders import held

SHAPES = 8  # that are kept; every graph holds on to its memory


class GraphedCalls:
    """``network(*tensors)``: captured at the first call with tensors of these shapes, replayed at later ones, gradients included.

    A graph reads the weights where they lay at its capture: values may change in place, as an optimizer changes them, but a parameter whose
    ``data`` is replaced needs new `GraphedCalls`. What a graph's backward needs is overwritten by the next call of the same shapes, so each
    needs its backward before the next. Tensors that are not on a GPU are given to the network itself, and so are those of a network
    that cannot be captured, with a warning.

    Args:
        network: a module, or a function without parameters that are trained; takes and returns tensors (or a tuple of them).
    """

    def __init__(self, network: nn.Module | Callable):
        self.network = network
        self._captured: dict[tuple, tuple[Callable, list]] = {}  # with what else the graph reads

    def __call__(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not all(t.is_cuda for t in tensors):
            return self.network(*tensors)
        # What is captured in inference mode could not be replayed outside of it; leaving it turns gradients on.
        grad = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            key = tuple((t.shape, t.dtype, t.requires_grad) for t in tensors), grad
            if key not in self._captured:
                if len(self._captured) >= SHAPES:
                    self._captured.pop(next(iter(self._captured)))
                with held() as orders:
                    self._captured[key] = self._capture(tensors), orders
            made = self._captured[key][0](*tensors)
        # The next replay writes to the same memory.
        return tuple(t.clone() for t in made) if isinstance(made, tuple) else made.clone()

    def _capture(self, tensors: tuple[Tensor, ...]) -> Callable:
        samples = tuple(t.detach().clone().requires_grad_(t.requires_grad) for t in tensors)
        # Torch gives a module that it captures another forward; the network itself keeps its own.
        call = _Call(self.network) if isinstance(self.network, nn.Module) else self.network
        try:
            # One call beforehand is enough for what libraries set up at their first.
            with _no_garbage_collected():
                return torch.cuda.make_graphed_callables(call, samples, num_warmup_iters=1, allow_unused_input=True)
        except RuntimeError as error:
            # A capture that failed leaves CUDA's random numbers waiting for its end, which only another capture's brings.
            with torch.cuda.graph(torch.cuda.CUDAGraph()):
                torch.zeros(1, device=tensors[0].device)
            reason = str(error).splitlines()[0]
            warnings.warn(f"These networks cannot be captured as a CUDA graph ({reason}); they are called as they are.", stacklevel=3)
            return self.network


@contextlib.contextmanager
def _no_garbage_collected():
    """A graph of other weights or shapes that is freed during a capture would end it."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Call(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.network(*tensors)
