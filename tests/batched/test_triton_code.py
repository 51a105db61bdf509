"""What the kernels in Triton become for an H100: compiled ahead of time, without a device."""

import re
import subprocess
from pathlib import Path

import pytest

from entropy_core.batched.kernels import _triton_rows as kernels

triton = pytest.importorskip("triton", reason="there is no Triton here: it is made for Linux")
nvidia = pytest.importorskip("triton.backends.nvidia", reason="this Triton does not compile for CUDA")
ASSEMBLER = Path(nvidia.__path__[0]) / "bin" / "ptxas"
pytestmark = pytest.mark.skipif(not ASSEMBLER.exists(), reason="this Triton comes without ptxas")

NONE = {"u_ptr": None, "peak_ptr": None, "origin_ptr": None}
KERNELS = {
    "policy": (kernels.policy_kernel, kernels.BLOCKS, NONE),
    "moved": (kernels.policy_kernel, kernels.STEP_BLOCKS, {}),
    "step": (kernels.step_kernel, kernels.STEP_BLOCKS, {}),
    "pullback": (kernels.pullback_kernel, kernels.BLOCKS, {}),
}


def assembly(name, kind):
    """Return the PTX of a kernel for logits of a type of 16 bits, and what the assembler says of it."""
    kernel, blocks, nothing = KERNELS[name]
    constants = {"BLOCK": blocks[2], "LANES": kernels.LANES, "ALIKE": True} | nothing
    written = kind if name == "pullback" else "fp64"
    types = {"z_ptr": f"*{kind}", "u_ptr": f"*{kind}", "out_ptr": f"*{written}", "scale": "fp64"}
    signature = {
        a: "constexpr" if a in constants else types.get(a, "*fp64" if a.endswith("_ptr") else "i32")
        for a in kernel.arg_names
    }
    compiled = triton.compile(
        triton.compiler.ASTSource(kernel, signature, constants),
        target=triton.backends.compiler.GPUTarget("cuda", 90, 32),
        options={"num_warps": kernels.LANES // 32, "maxnreg": kernels.REGISTERS},
    )
    said = subprocess.run(
        [ASSEMBLER, "-v", "-arch=sm_90a", "-o", "/dev/null", "-"],
        input=compiled.asm["ptx"],
        capture_output=True,
        text=True,
        check=True,
    )
    return compiled.asm["ptx"], said.stderr


@pytest.mark.parametrize("name", KERNELS)
def test_what_is_compiled(monkeypatch, tmp_path, record_property, name):
    """Blocks are loaded by 16 bytes a lane, e^a is one instruction, and no sum leaves the registers."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    ptx, said = assembly(name, "bf16")
    record_property("registers", re.search(r"Used (\d+) registers", said).group(1))
    assert " 0 bytes spill stores" in said
    each = KERNELS[name][1][2] // kernels.LANES
    loads = each * 2 // kernels.ALIGNED * (2 if name in ("moved", "step") else 1)
    assert ptx.count("ld.global.v4.b32") == loads
    assert set(re.findall(r"ex2\S*", ptx)) == {"ex2.approx.ftz.f32"}
    # in blocks and outside; a step of large range takes another
    assert ptx.count("ex2.") == 2 * each * (2 if name == "step" else 1)
    # NaN stays NaN: the interpreter's maximum never loses it
    assert ptx.count("max.NaN.f32") == 2 * each
    if name == "pullback":
        assert ptx.count("st.global.v4.b32") == loads
        # to nearest: the interpreter does it otherwise
        assert set(re.findall(r"cvt\.r\S*bf16\S*", ptx)) == {"cvt.rn.bf16.f32"}
    else:
        assert "bar.sync" not in ptx
