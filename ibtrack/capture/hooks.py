"""Forward hooks: the output of every measured module is handed over while the model runs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ibtrack.capture.names import named_modules


class CaptureError(RuntimeError):
    """A site did not hand over one tensor per forward pass."""


class FiredError(CaptureError):
    """A site was not run once in a forward pass, but more often or never."""


@contextlib.contextmanager
def capture(
    model: nn.Module,
    sites: Mapping[str, str],
    receive: Callable[[str, Any], None],
    *,
    pick: Callable[[Any, str], Any] | None = None,
) -> Iterator[Callable[[], None]]:
    """Hand the raw output of every site to ``receive`` during the forward passes inside the context.

    Args:
        model: The model that holds the modules.
        sites: Site to bare module name, from `ibtrack.capture.sites.find_sites`.
        receive: Function that is called with the site and its output tensor, inside the forward pass.
        pick: What is taken of a site's output, called with the output and the site; by default `output_tensor`.

    Yields:
        A function to call after each forward pass. It raises what a hook met first since its last call, `CaptureError`
        if a site's output holds no tensor or what ``receive`` raised, and `FiredError` if a site did not fire exactly
        once. The forward pass itself goes on to its end, since other processes may take part in it.

    Raises:
        CaptureError: A site is a module that takes no hooks.

    Example:
        >>> model, seen = nn.Sequential(nn.Flatten(), nn.ReLU()), {}
        >>> with capture(model, {"L00": "1"}, seen.__setitem__) as check:
        ...     output = model(Tensor([[-1.0, 2.0]]))
        ...     check()
        >>> seen
        {'L00': tensor([[0., 2.]])}
    """
    modules = named_modules(model)
    fired: Counter[str] = Counter()
    faults: list[Exception] = []
    pick = pick or output_tensor

    def hook_for(site: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            fired[site] += 1
            if not faults:
                try:
                    receive(site, pick(output, site))
                except Exception as error:
                    faults.append(error)

        return hook

    def check() -> None:
        wrong = [f"{site} ({name}) fired {fired[site]} times" for site, name in sites.items() if fired[site] != 1]
        fired.clear()
        if faults:
            raise faults.pop()
        if wrong:
            raise FiredError(f"every site must fire once per forward pass, but {', '.join(wrong)}")

    _check_hookable({name: modules[name] for name in sites.values()})
    handles = []
    try:
        for site, name in sites.items():
            handles.append(modules[name].register_forward_hook(hook_for(site)))
        yield check
    finally:
        for handle in handles:
            handle.remove()


def _check_hookable(modules: Mapping[str, nn.Module]) -> None:
    """Refuse modules that take no hooks.

    Raises:
        CaptureError: Some are of TorchScript; they are named.
    """
    scripted = [repr(name) for name, module in modules.items() if isinstance(module, torch.jit.ScriptModule)]
    if scripted:
        raise CaptureError(f"{', '.join(scripted)} come from torch.jit.script, which takes no hooks")


def output_tensor(output: Any, site: str, element: int = 0) -> Tensor:
    """Return the hidden states in what a module returned.

    Args:
        output: A tensor, a sequence that holds one, or an object or mapping with ``last_hidden_state`` or
            ``hidden_states``.
        site: Name of the site, for the message.
        element: Where in a sequence the hidden states are; see `ibtrack.capture.streams`.

    Raises:
        CaptureError: The output is none of these.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Sequence) and len(output) > element and isinstance(output[element], Tensor):
        hidden: Tensor = output[element]
        return hidden
    for field in ("last_hidden_state", "hidden_states"):
        value = output.get(field) if isinstance(output, Mapping) else getattr(output, field, None)
        if isinstance(value, Tensor):
            return value
    raise CaptureError(f"{site} must return a tensor, a tuple that holds one, or hidden states, got {type(output)}")
