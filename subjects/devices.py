"""Where a subject runs, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exegete.errors import SubjectError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def choose_device(asked: str | None) -> torch.device:
    """The device that was asked for, or the first GPU, or the CPU.

    Raises:
        SubjectError: there is no such device.
    """
    import torch

    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=asked)
        return torch.device(asked)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise SubjectError(f"torch has no device {asked!r} here: choose one of {here}") from error


def choose_dtype(asked: str | None, device: torch.device) -> torch.dtype:
    """The precision that was asked for, or bfloat16 on a GPU that has it, or float32.

    Raises:
        SubjectError: it is none of DTYPES.
    """
    import torch

    if asked is None:
        half = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if half else torch.float32
    if asked not in DTYPES:
        raise SubjectError(f"the precision {asked!r} is none of {', '.join(DTYPES)}")
    dtype: torch.dtype = getattr(torch, asked)
    return dtype
