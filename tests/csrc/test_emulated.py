"""The C core on processors that this machine is not, under qemu."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[..., Path]
Check = Callable[..., list[str]]

#: architecture: (what agrees there, widest first; Debian's name of its C library)
FOREIGN = {
    "aarch64": (["neon", "portable"], "libc6-dev-arm64-cross"),
    "s390x": (["portable"], "libc6-dev-s390x-cross"),  # the last big-endian one
}


def _needs(tool: str, packages: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool} here: apt-get install -y {packages}")


@pytest.mark.parametrize("architecture", ["aarch64", pytest.param("s390x", marks=pytest.mark.long)])
def test_other_architecture(build: Build, check: Check, architecture: str) -> None:
    """Its kernels agree with the model over edges, types and threads."""
    agreeing, libc = FOREIGN[architecture]
    cc, qemu = f"{architecture}-linux-gnu-gcc", f"qemu-{architecture}"
    packages = f"gcc-{architecture}-linux-gnu {libc} qemu-user"
    _needs(cc, packages)
    _needs(qemu, packages)
    assert agreeing == check(build(cc, "-O3", "-static", wide=False), qemu)


@pytest.mark.long
def test_old_x86(build: Build, check: Check, is_x86_64: bool) -> None:
    """An x86 without wide registers runs the portable kernels, and refuses to be forced."""
    if not is_x86_64:
        pytest.skip("this machine's compiler does not build for x86-64")
    _needs("qemu-x86_64", "qemu-user")
    assert ["portable"] == check(build("cc", "-O3", "-static"), "qemu-x86_64", "-cpu", "Nehalem")
