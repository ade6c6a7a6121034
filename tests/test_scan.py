"""The selective scan against its definition: values, gradients, shapes, dtypes, time and memory."""

import sys
import time
import types
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from stylemamba import scan
from stylemamba.errors import StyleMambaError
from stylemamba.scan import selective_scan, selective_scan_ref

OPTIONAL = ("D", "z", "delta_bias")


def make_inputs(batch=2, channels=4, states=3, length=7, B="BNL", C="BNL", groups=2, optional=OPTIONAL, dtype=torch.float32, seed=0):
    """Random arguments of a scan, all of them leaves that require gradients; B and C take one of the three documented shapes."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    forms = {"DN": (channels, states), "BNL": (batch, states, length), "BGNL": (batch, groups, states, length)}
    inputs = {
        "u": randn(batch, channels, length),
        "delta": randn(batch, channels, length),
        "A": -2 * torch.rand(channels, states, generator=generator, dtype=dtype),
        "B": randn(*forms[B]),
        "C": randn(*forms[C]),
        "D": randn(channels),
        "z": randn(batch, channels, length),
        "delta_bias": randn(channels),
    }
    return {name: t.requires_grad_() for name, t in inputs.items() if name not in OPTIONAL or name in optional}


def values_and_grads(function, inputs):
    """Output, last state, and the gradient of a random projection of both with respect to every input, by name."""
    out, state = function(**inputs, delta_softplus=True, return_last_state=True)
    generator = torch.Generator().manual_seed(1)
    loss = (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum()
    loss = loss + (state * torch.randn(state.shape, generator=generator, dtype=state.dtype)).sum()
    grads = torch.autograd.grad(loss, list(inputs.values()))
    return {"out": out.detach(), "last state": state.detach()} | dict(zip(inputs, grads))


def assert_same(inputs, tolerance=1e-5):
    """Equality with the definition, relative to the norm of each tensor."""
    actual, expected = values_and_grads(selective_scan, inputs), values_and_grads(selective_scan_ref, inputs)
    for name in expected:
        error = (actual[name] - expected[name]).norm() / expected[name].norm().clamp_min(1e-20)
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of 16 steps even for small tensors, so that short sequences cross chunks."""
    monkeypatch.setattr(scan, "_CHUNK_ELEMENTS", 1)


class TestSelectiveScan:
    @pytest.mark.parametrize("optional", [(), ("D",), ("z",), ("delta_bias",), OPTIONAL])
    @pytest.mark.parametrize("softplus", [False, True])
    def test_smoke(self, optional, softplus):
        out = selective_scan(**make_inputs(optional=optional), delta_softplus=softplus)
        assert out.shape == (2, 4, 7) and out.isfinite().all()

    def test_by_hand(self):
        # One channel, one state: h = 0.5 h + 2 * 3 * u with delta = 1, y = 5 h + 7 u.
        u = torch.tensor([[[1.0, 0.0, 2.0]]])
        A = torch.tensor([[0.5]]).log()
        B, C, D = torch.tensor([[6.0]]), torch.tensor([[5.0]]), torch.tensor([7.0])
        out, state = selective_scan(u, torch.ones_like(u), A, B, C, D, return_last_state=True)
        torch.testing.assert_close(out, torch.tensor([[[37.0, 15.0, 81.5]]]))
        torch.testing.assert_close(state, torch.tensor([[[13.5]]]))

    @pytest.mark.parametrize(
        "name, shape, words",
        [
            ("u", (4, 7), "u must be"),
            ("u", (2, 4, 0), "u must be"),
            ("delta", (2, 4, 6), "delta must be"),
            ("A", (3, 3), "A must be"),
            ("A", (4,), "A must be"),
            ("B", (2, 3, 6), "B must be"),
            ("C", (2, 3, 3, 7), "groups divides 4"),
            ("D", (4, 1), "D must be"),
            ("z", (1, 4, 7), "z must be"),
            ("delta_bias", (3,), "delta_bias must be"),
        ],
    )
    @pytest.mark.parametrize("function", [selective_scan, selective_scan_ref])
    def test_exception(self, function, name, shape, words):
        with pytest.raises(StyleMambaError, match=words):
            function(**make_inputs() | {name: torch.zeros(shape)})

    def test_exception_groups(self):
        inputs = make_inputs(B="BGNL", groups=2) | {"C": torch.zeros(2, 4, 3, 7)}
        with pytest.raises(StyleMambaError, match="B has 2 groups and C 4"):
            selective_scan(**inputs)

    @pytest.mark.parametrize("dtype", [torch.complex64, torch.int64])
    def test_exception_dtype(self, dtype):
        inputs = make_inputs()
        with pytest.raises(StyleMambaError, match="A is torch"):
            selective_scan(**inputs | {"A": inputs["A"].detach().to(dtype)})

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_dtype(self, dtype):
        inputs = {name: t.detach().to(dtype).requires_grad_() for name, t in make_inputs(length=40).items()}
        out, state = selective_scan(**inputs, delta_softplus=True, return_last_state=True)
        assert out.dtype == dtype
        assert state.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        # Both compute in fp32 at least, so that they differ by the rounding of the result at the most.
        expected = selective_scan_ref(**inputs, delta_softplus=True)
        torch.testing.assert_close(out, expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-14 if dtype == torch.float64 else 1e-5)
        out.sum().backward()
        assert all(t.grad.dtype == dtype for t in inputs.values())

    def test_shape_last_state(self):
        out, state = selective_scan(**make_inputs(channels=6, states=5, B="BGNL"), return_last_state=True)
        assert out.shape == (2, 6, 7) and state.shape == (2, 6, 5)

    @pytest.mark.parametrize("B", ["DN", "BNL", "BGNL"])
    @pytest.mark.parametrize("C", ["DN", "BNL", "BGNL"])
    def test_gradcheck(self, B, C, short_chunks):
        inputs = make_inputs(batch=2, channels=2, states=2, length=18, B=B, C=C, dtype=torch.float64)

        def function(*tensors):
            return selective_scan(**dict(zip(inputs, tensors)), delta_softplus=True, return_last_state=True)

        assert torch.autograd.gradcheck(function, list(inputs.values()), fast_mode=True)

    def test_gradcheck_every_entry(self, short_chunks):
        inputs = make_inputs(batch=1, channels=2, states=2, length=18, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda *t: selective_scan(**dict(zip(inputs, t))), list(inputs.values()))

    @pytest.mark.parametrize("length", [1, 2, 16, 17, 97, 257])
    def test_lengths(self, length, short_chunks):
        assert_same(make_inputs(length=length, channels=6, states=4))

    def test_long(self):
        assert_same(make_inputs(batch=1, channels=8, states=8, length=16384))  # four chunks

    @settings(max_examples=40, deadline=None)
    @given(
        batch=st.integers(1, 3),
        groups=st.integers(1, 3),
        per_group=st.integers(1, 4),
        states=st.integers(1, 5),
        length=st.integers(1, 70),
        B=st.sampled_from(["DN", "BNL", "BGNL"]),
        C=st.sampled_from(["DN", "BNL", "BGNL"]),
        optional=st.sets(st.sampled_from(OPTIONAL)),
    )
    def test_random_shapes(self, batch, groups, per_group, states, length, B, C, optional):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "_CHUNK_ELEMENTS", 1)
            # In fp64, since a gradient that is a single number may be the small difference of large ones.
            assert_same(make_inputs(batch, groups * per_group, states, length, B, C, groups, optional, torch.float64), tolerance=1e-11)

    @pytest.mark.parametrize("transposed", ["u", "delta", "z", "B"])
    def test_strides(self, transposed, short_chunks):
        inputs = make_inputs(length=40)
        inputs[transposed] = inputs[transposed].detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
        assert_same(inputs)

    def test_expanded_gradient(self):
        inputs = make_inputs(length=40)
        actual, expected = (torch.autograd.grad(f(**inputs).sum(), list(inputs.values())) for f in (selective_scan, selective_scan_ref))
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("rate", [-100.0, -1e4, -1e30])
    def test_strong_decay(self, rate):
        """Decays that underflow: only the present step counts, and no gradient is NaN."""
        inputs = make_inputs(length=200, optional=())
        inputs["delta"] = (inputs["delta"].detach().abs() + 1).requires_grad_()
        inputs["A"] = torch.full((4, 3), rate, requires_grad=True)
        out = selective_scan(**inputs)
        expected = torch.einsum("bdl,bdl,bnl,bnl->bdl", *(inputs[name] for name in ("delta", "u", "B", "C")))
        torch.testing.assert_close(out, expected)
        grads = torch.autograd.grad(out.sum(), list(inputs.values()))
        assert all(grad.isfinite().all() for grad in grads)

    def test_part_of_the_inputs_require_gradients(self):
        inputs = make_inputs()
        for name in ("A", "z", "B"):
            inputs[name].requires_grad_(False)
        selective_scan(**inputs).sum().backward()
        assert inputs["A"].grad is inputs["B"].grad is None and inputs["u"].grad is not None

    def test_autocast_changes_nothing(self):
        inputs = make_inputs(length=40)
        expected = values_and_grads(selective_scan, inputs)
        with torch.autocast("cpu", torch.bfloat16):
            actual = values_and_grads(selective_scan, inputs)
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)

    def test_inference_mode(self):
        inputs = make_inputs()
        with torch.inference_mode():
            out = selective_scan(**inputs)
        torch.testing.assert_close(out, selective_scan(**inputs).detach(), rtol=0, atol=0)


def forward_backward(length, channels=64):
    inputs = make_inputs(batch=1, channels=channels, states=16, length=length, optional=())
    started = time.process_time()
    selective_scan(**inputs).sum().backward()
    return time.process_time() - started


def test_time_is_linear():
    """Four times the length takes about four times as long; a backward that slices in a time loop takes sixteen times as long."""
    forward_backward(1024)
    short, long = (min(forward_backward(length) for _ in range(3)) for length in (1024, 4096))
    assert long / short < 8


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of every storage that an operation returns, from there until it is freed."""

    def __init__(self):
        super().__init__()
        self.live, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage())._cdata not in self.live:
                self.live[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.live.pop, storage._cdata)
                self.peak = max(self.peak, sum(self.live.values()))
        return result


@pytest.mark.parametrize("length", [1024, 4096])
@pytest.mark.parametrize("optional", [(), OPTIONAL])
def test_memory(optional, length):
    """Forward and backward, results and gradients included, take no more than three times what the inputs take."""
    inputs = make_inputs(batch=1, channels=256, states=16, length=length, optional=optional)
    size = sum(t.nbytes for t in inputs.values())
    with PeakMemory() as memory:
        selective_scan(**inputs).sum().backward()
    assert memory.peak - size <= 3 * size  # the inputs themselves are counted too, by views of them


class TestCudaKernel:
    @pytest.fixture(autouse=True)
    def fresh_cache(self):
        scan._cuda_kernel.cache_clear()
        yield
        scan._cuda_kernel.cache_clear()

    def install(self, monkeypatch, module):
        for name in ("mamba_ssm", "mamba_ssm.ops"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", module)

    def test_absent_or_broken(self, monkeypatch):
        class Broken(types.ModuleType):
            def __getattr__(self, name):
                raise RuntimeError("undefined symbol")

        self.install(monkeypatch, Broken("broken"))
        assert scan._cuda_kernel() is None

    def test_present(self, monkeypatch):
        module = types.ModuleType("kernel")
        module.selective_scan_fn = selective_scan_ref
        self.install(monkeypatch, module)
        assert scan._cuda_kernel() is selective_scan_ref

    @pytest.mark.parametrize("B", ["DN", "BGNL"])
    def test_call(self, B):
        """Mixed dtypes reach the kernel as it wants them, and the result has the dtype of u."""
        inputs = {name: t.detach() for name, t in make_inputs(B=B, C=B).items()}
        inputs |= {"u": inputs["u"].bfloat16(), "A": inputs["A"].double(), "D": inputs["D"].half()}
        seen = {}

        def kernel(*args):
            seen.update(zip(("u", "delta", "A", "B", "C", "D", "z", "delta_bias"), args))
            return selective_scan_ref(*args)

        out, state = scan._call_kernel(kernel, **inputs, delta_softplus=True, return_last_state=True)
        assert {t.dtype for t in seen.values()} == {torch.float32}
        expected, expected_state = selective_scan(**inputs, delta_softplus=True, return_last_state=True)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, expected, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(state.double(), expected_state.double(), rtol=1e-4, atol=1e-4)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_same_on_cuda(self):
        inputs = make_inputs(channels=32, states=16, length=100)
        expected = values_and_grads(selective_scan, inputs)["out"]
        actual = selective_scan(**{name: t.detach().cuda() for name, t in inputs.items()}, delta_softplus=True)
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-3, atol=2e-3)
