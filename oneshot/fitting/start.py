"""Weights that a module starts from: those of a safetensors file, also of another number of classes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError, one_line
from ..runs.files import given

MOST_BYTES = 1 << 36


def start_from(module: nn.Module, file: str | Path, outputs: int, setting: str = "weights") -> list[str]:
    """Load the weights of a safetensors file; last layers with another number of logits stay as they are.

    Names and shapes must be those of the module. The one exception are tensors whose first dimension is the number of
    logits: with another number of classes in the file they stay as they were initialized.

    Args:
        module: The module, changed in place. Nothing is changed if the file does not fit.
        file: The file; a link is followed.
        outputs: Number of logits of the module.
        setting: Name of the setting, for messages.

    Returns:
        Names of the tensors that stay as they were.

    Raises:
        InputError: If the file cannot be read as weights, or does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not isinstance(file, str | Path) or not str(file):
        raise InputError(f"{setting}={file!r}: must be the path of a safetensors file")
    try:
        with given(Path(file), MOST_BYTES) as opened:
            theirs = load(opened.read())
    except OSError as error:
        raise InputError(f"{setting}={file}: cannot be read ({error.strerror})") from None
    except InputError as error:
        raise InputError(f"{setting}: {error}") from None
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{setting}={file}: holds no weights ({one_line(error, 80)})") from None
    own = module.state_dict()
    new = [name for name in own if name in theirs and _is_last(own[name].shape, theirs[name].shape, outputs)]
    for name in {**own, **theirs}:
        if name in new:
            continue
        here, there = (tuple(w[name].shape) if name in w else "nothing" for w in (own, theirs))
        if here != there:
            raise InputError(f"{setting}={file}: {name:.80} is {there}, the configured network has {here}")
    for name, tensor in theirs.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(f"{setting}={file}: {name:.80} holds numbers that are not finite")
    module.load_state_dict({name: own[name] if name in new else theirs[name].to(own[name].dtype) for name in own})
    return new


def _is_last(own: Sequence[int], theirs: torch.Size, outputs: int) -> bool:
    """Whether two shapes differ in the number of logits alone."""
    return len(own) == len(theirs) > 0 and own[0] == outputs != theirs[0] and own[1:] == theirs[1:]
