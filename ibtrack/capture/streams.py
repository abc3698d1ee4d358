"""Which tensor of a tuple that a module returns is the stream of activations.

Letters: T block length, B blocks in a forward pass, D width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

from ibtrack.capture.hooks import CaptureError
from ibtrack.capture.names import named_modules


@contextlib.contextmanager
def first_inputs(model: nn.Module, sites: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """Note the first tensor of real numbers that each site is called with during a forward pass inside the context.

    Args:
        model: The model that holds the modules.
        sites: Site to bare module name.

    Yields:
        Site to tensor; a site that gets none is missing.
    """
    inputs: dict[str, Tensor] = {}
    modules = named_modules(model)

    def hook_for(site: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
            tensors = [
                each for each in (*args, *options.values()) if isinstance(each, Tensor) and each.is_floating_point()
            ]
            if tensors:
                inputs[site] = tensors[0]

        return hook

    handles = [
        modules[name].register_forward_pre_hook(hook_for(site), with_kwargs=True) for site, name in sites.items()
    ]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def stream_elements(outputs: Mapping[str, Any], inputs: Mapping[str, Tensor], grid: tuple[int, ...]) -> dict[str, int]:
    """Choose the element of each site's output that has one row per position.

    Of several the one is taken that is as wide as what the site was called with, then the one that the next site was
    called with. Sites that hand nothing on, as the last, follow the others.

    Args:
        outputs: Site to what it returned.
        inputs: Site to the first tensor of real numbers that it was called with, from `first_inputs`.
        grid: (B, T), or (B,) for inputs of one position each.

    Returns:
        Site to the place in the tuple, 0 for an output that is none, and where nothing fits.

    Raises:
        CaptureError: Several elements fit equally well; they are named. Or the activations only exist inside of a
            transform of ``torch.func``.

    Example:
        >>> weights, hidden = Tensor(1, 2, 4, 4), Tensor(1, 4, 8)
        >>> stream_elements({"L00": (weights, hidden), "L01": hidden}, {}, grid=(1, 4))
        {'L00': 1, 'L01': 0}
    """
    refuse_transformed([site for site, tensor in inputs.items() if is_functorch_wrapped_tensor(tensor)])
    fitting = {site: _fitting(output, inputs.get(site), grid) for site, output in outputs.items()}
    handed = {(tensor.data_ptr(), tensor.shape) for tensor in inputs.values()}
    for site, places in fitting.items():
        passed_on = [place for place in places if _key(outputs[site][place]) in handed] if len(places) > 1 else []
        fitting[site] = passed_on if len(passed_on) == 1 else places
    agreed = {places[0] for site, places in fitting.items() if len(places) == 1 and isinstance(outputs[site], Sequence)}
    elements = {}
    for site, places in fitting.items():
        follows = len(places) > 1 and len(agreed) == 1 and agreed <= set(places)
        if len(places) > 1 and not follows:
            several = ", ".join(f"element {place} of width {outputs[site][place].shape[-1]}" for place in places)
            raise CaptureError(
                f"{site} returns several tensors with one row per position and it does not show which is the stream: "
                f"{several}; name modules that return one of them"
            )
        elements[site] = next(iter(agreed)) if follows else (places or [0])[0]
    return elements


def refuse_transformed(names: Sequence[str]) -> None:
    """Refuse modules whose activations only exist inside of a transform of ``torch.func``.

    Args:
        names: Sites or names of such modules.

    Raises:
        CaptureError: There are some.
    """
    if names:
        raise CaptureError(
            f"{', '.join(names)} run inside of torch.func.vmap or another transform, where activations are no "
            "ordinary tensors; measure one member of the ensemble"
        )


def _key(tensor: Tensor) -> tuple[int, Any]:
    return tensor.data_ptr(), tensor.shape


def _fitting(output: Any, given: Tensor | None, grid: tuple[int, ...]) -> list[int]:
    """List the places in a tuple whose tensors have one row per position, those as wide as the input if there are."""
    if isinstance(output, Tensor) or not isinstance(output, Sequence):
        return [0]
    fitting = [place for place, tensor in enumerate(output) if _has_rows(tensor, grid)]
    as_wide = [place for place in fitting if given is not None and output[place].shape[-1:] == given.shape[-1:]]
    return as_wide or fitting


def _has_rows(thing: Any, grid: tuple[int, ...]) -> bool:
    return isinstance(thing, Tensor) and thing.is_floating_point() and tuple(thing.shape[:-1]) in (grid, grid[::-1])
