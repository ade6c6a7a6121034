"""The state-space dual against its definition and against the selective scan."""

import sys
import time
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylemamba import ssd
from stylemamba.errors import StyleMambaError
from stylemamba.scan import selective_scan
from stylemamba.ssd import ssd_ref, ssd_scan


def make_inputs(batch=2, length=7, heads=4, head_dim=3, groups=2, states=5, D=True, dtype=torch.float32, decay=3.0, seed=0):
    """Random arguments of a scan, all of them leaves that require gradients; dt * A lies in -decay .. 0."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    inputs = {
        "x": randn(batch, length, heads, head_dim),
        "dt": torch.rand(batch, length, heads, generator=generator, dtype=dtype),
        "A": -decay * torch.rand(heads, generator=generator, dtype=dtype),
        "B": randn(batch, length, groups, states),
        "C": randn(batch, length, groups, states),
    }
    if D:
        inputs["D"] = randn(heads)
    return {name: t.requires_grad_() for name, t in inputs.items()}


def values_and_grads(function, inputs, **options):
    """Output and the gradient of a random projection of it with respect to every input, by name."""
    out = function(**inputs, **options)
    projection = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    grads = torch.autograd.grad((out * projection).sum(), list(inputs.values()))
    return {"out": out.detach()} | dict(zip(inputs, grads))


def assert_same(inputs, tolerance=1e-5, **options):
    """Equality with the definition, relative to the norm of each tensor."""
    actual, expected = values_and_grads(ssd_scan, inputs, **options), values_and_grads(ssd_ref, inputs)
    for name in expected:
        error = (actual[name] - expected[name]).norm() / expected[name].norm().clamp_min(1e-20)
        assert error <= tolerance, f"{name}: relative error {error:.1e}"


class TestSSDScan:
    @pytest.mark.parametrize("D", [False, True])
    def test_smoke(self, D):
        out = ssd_scan(**make_inputs(D=D))
        assert out.shape == (2, 7, 4, 3) and out.isfinite().all()

    @pytest.mark.parametrize(
        "name, shape",
        [
            ("x", (2, 7, 4)),
            ("x", (2, 0, 4, 3)),
            ("dt", (2, 7, 3)),
            ("A", (4, 1)),
            ("B", (2, 7, 5)),
            ("B", (2, 6, 2, 5)),
            ("C", (2, 7, 3, 5)),
            ("D", (3,)),
        ],
    )
    def test_exception(self, name, shape):
        with pytest.raises(StyleMambaError, match="ssd_scan"):
            ssd_scan(**make_inputs() | {name: torch.zeros(shape)})

    def test_exception_groups(self):
        with pytest.raises(StyleMambaError, match="ssd_scan"):
            ssd_scan(**make_inputs() | {name: torch.zeros(2, 7, 3, 5) for name in "BC"})

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_dtype(self, dtype):
        inputs = {name: t.detach().to(dtype) for name, t in make_inputs(length=40).items()}
        out = ssd_scan(**inputs, chunk_size=16)
        assert out.dtype == dtype
        # Half precision is computed in fp32, so that it costs the rounding of the result only.
        expected = ssd_ref(**{name: t.double() for name, t in inputs.items()}).to(dtype)
        torch.testing.assert_close(out, expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-14 if dtype == torch.float64 else 2e-5)

    @pytest.mark.parametrize("length", [1, 15, 16, 17, 37])
    def test_gradcheck(self, length):
        inputs = make_inputs(batch=1, length=length, heads=2, head_dim=2, groups=1, states=2, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda *t: ssd_scan(*t, chunk_size=16), list(inputs.values()), fast_mode=True)

    @pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 97, 256])
    def test_lengths(self, length):
        assert_same(make_inputs(length=length))

    def test_long(self):
        # Slow decay, so that far chunks matter.
        assert_same(make_inputs(batch=1, length=16384, heads=2, groups=1, decay=0.01), tolerance=2e-5)

    @settings(max_examples=40, deadline=None)
    @given(
        batch=st.integers(1, 3),
        length=st.integers(1, 50),
        per_group=st.integers(1, 3),
        head_dim=st.integers(1, 4),
        groups=st.integers(1, 3),
        states=st.integers(1, 5),
        D=st.booleans(),
        chunk_size=st.integers(1, 60),
    )
    def test_random_shapes(self, batch, length, per_group, head_dim, groups, states, D, chunk_size):
        # In fp64, since a gradient that is a single number may be the small difference of large ones.
        inputs = make_inputs(batch, length, per_group * groups, head_dim, groups, states, D, torch.float64)
        assert_same(inputs, tolerance=1e-11, chunk_size=chunk_size)

    @pytest.mark.parametrize("decay", [1e3, 1e8, 1e30])
    def test_strong_decay(self, decay):
        """Decays that underflow: only the present step counts, and no gradient is NaN."""
        inputs = make_inputs(length=200, D=False)
        inputs["dt"] = (inputs["dt"].detach() + 0.5).requires_grad_()
        inputs["A"] = torch.full((4,), -decay, requires_grad=True)
        out = ssd_scan(**inputs)
        weight = (inputs["B"] * inputs["C"]).sum(-1).repeat_interleave(2, dim=2)
        torch.testing.assert_close(out, (inputs["dt"] * weight)[..., None] * inputs["x"], rtol=1e-5, atol=1e-5)
        grads = torch.autograd.grad(out.sum(), list(inputs.values()))
        assert all(grad.isfinite().all() for grad in grads)

    @pytest.mark.parametrize("strong", [200.0, 1e5, 1e37])
    def test_weak_after_strong_decay(self, strong):
        """A step that wipes the state must not spoil the steps after it, which share its chunk."""
        inputs = make_inputs(batch=1, length=64, heads=1, groups=1, dtype=torch.float64, decay=0.0)
        inputs["A"] = torch.full((1,), -1.0, dtype=torch.float64)
        inputs["dt"] = torch.full((1, 64, 1), 0.05, dtype=torch.float64)
        inputs["dt"][:, 8] = strong
        inputs["x"] = inputs["x"].detach()
        inputs["x"][:, 8] = 0  # its own share would hide what is lost of the others'
        expected = ssd_ref(**inputs)
        actual = ssd_scan(**{name: t.float() for name, t in inputs.items()})
        assert (actual.double() - expected).norm() / expected.norm() < 1e-4

    def test_is_a_selective_scan(self):
        """Mamba-1 with one decay for all channels and states of a head is Mamba-2."""
        inputs = make_inputs(length=150)
        x, dt, A, B, C, D = inputs.values()
        per_channel = {"dt": dt.transpose(1, 2), "A": A[:, None].expand(-1, 5), "D": D}
        per_channel = {name: t.repeat_interleave(3, dim=t.dim() - 2 if name != "D" else 0) for name, t in per_channel.items()}
        out = selective_scan(
            x.flatten(2).transpose(1, 2),
            per_channel["dt"],
            per_channel["A"],
            B.permute(0, 2, 3, 1),
            C.permute(0, 2, 3, 1),
            per_channel["D"],
        )
        torch.testing.assert_close(ssd_scan(**inputs).flatten(2), out.transpose(1, 2), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("wide", ["x", "dt", "A", "B", "C", "D"])
    @pytest.mark.parametrize("dtypes", [(torch.float32, torch.bfloat16), (torch.float64, torch.float32)])
    def test_mixed_dtypes_are_computed_in_the_widest(self, wide, dtypes):
        inputs = {name: t.to(dtypes[name != wide]) for name, t in make_inputs(length=70).items()}
        out = ssd_scan(**inputs)
        assert out.dtype == inputs["x"].dtype
        expected = ssd_scan(**{name: t.to(dtypes[0]) for name, t in inputs.items()})
        torch.testing.assert_close(out, expected.to(out.dtype), rtol=0, atol=0)

    def test_whole_numbers_are_refused(self):
        inputs = make_inputs()
        with pytest.raises(StyleMambaError, match="x is torch.int64"):
            ssd_scan(**{**inputs, "x": inputs["x"].detach().long()})

    @pytest.mark.parametrize("chunk_size", [0, -64])
    def test_chunk_size_below_1_is_refused(self, chunk_size):
        with pytest.raises(StyleMambaError, match=f"chunk_size is {chunk_size}"):
            ssd_scan(**make_inputs(), chunk_size=chunk_size)

    def test_chunk_size_does_not_change_the_result(self):
        inputs = make_inputs(length=100)
        torch.testing.assert_close(ssd_scan(**inputs, chunk_size=8), ssd_scan(**inputs, chunk_size=100), rtol=1e-4, atol=1e-5)

    def test_autocast_changes_nothing(self):
        inputs = make_inputs(length=100)
        with torch.autocast("cpu", torch.bfloat16):
            actual = ssd_scan(**inputs)
        torch.testing.assert_close(actual, ssd_scan(**inputs), rtol=0, atol=0)


def forward_backward(length):
    inputs = make_inputs(batch=1, length=length, heads=4, head_dim=16, groups=1, states=16)
    started = time.process_time()
    ssd_scan(**inputs).sum().backward()
    return time.process_time() - started


def test_time_is_linear():
    forward_backward(2048)
    short, long = (min(forward_backward(length) for _ in range(3)) for length in (2048, 8192))
    assert long / short < 8


class TestCudaKernel:
    @pytest.fixture(autouse=True)
    def fresh_cache(self):
        ssd._cuda_kernel.cache_clear()
        yield
        ssd._cuda_kernel.cache_clear()

    def install(self, monkeypatch, module):
        for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, "mamba_ssm.ops.triton.ssd_combined", module)

    def test_absent_or_broken(self, monkeypatch):
        class Broken(types.ModuleType):
            def __getattr__(self, name):
                raise RuntimeError("Triton is not supported here")

        self.install(monkeypatch, Broken("broken"))
        assert ssd._cuda_kernel() is None

    def test_present(self, monkeypatch):
        module = types.ModuleType("kernel")
        module.mamba_chunk_scan_combined = ssd_ref
        self.install(monkeypatch, module)
        assert ssd._cuda_kernel() is ssd_ref

    def test_call(self):
        """Mixed dtypes reach the kernel as it wants them, and the result has the dtype of x."""
        inputs = {name: t.detach() for name, t in make_inputs().items()}
        inputs |= {"x": inputs["x"].bfloat16(), "A": inputs["A"].double(), "D": inputs["D"].half()}

        def kernel(x, dt, A, B, C, chunk_size, D=None):
            assert {t.dtype for t in (dt, A, D)} == {torch.float32} and {t.dtype for t in (x, B, C)} == {torch.bfloat16}
            return ssd_ref(x.float(), dt, A, B.float(), C.float(), D).to(x.dtype)

        out = ssd._call_kernel(kernel, **inputs)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, ssd_scan(**inputs), rtol=5e-2, atol=5e-2)

    @pytest.mark.parametrize("length, chunk", [(20, 64), (64, 64), (65, 128), (300, 256)])
    def test_short_sequences_get_short_chunks(self, length, chunk):
        asked = []
        inputs = {name: t.detach() for name, t in make_inputs(length=length).items()}
        ssd._call_kernel(lambda *_, chunk_size, D: asked.append(chunk_size), **{"D": None} | inputs)
        assert asked == [chunk]

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_same_on_cuda(self):
        inputs = make_inputs(heads=4, head_dim=32, states=16, length=300)
        actual = ssd_scan(**{name: t.detach().cuda() for name, t in inputs.items()})
        torch.testing.assert_close(actual.cpu(), ssd_scan(**inputs).detach(), rtol=1e-2, atol=2e-2)
