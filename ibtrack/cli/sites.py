"""``ibtrack sites``: which modules of a model would be measured, and which lists of modules could be its blocks."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ibtrack.cli.commands import app, one_line_errors
from ibtrack.cli.terminal import say, text_table

if TYPE_CHECKING:
    from torch import nn

    from ibtrack.capture.blocks import Candidate
    from ibtrack.tracking.sites import FoundSites

SITES_HEAD = ("site", "module", "class", "shape", "calls", "parameters")
LISTS_HEAD = ("list", "members", "class", "shape", "calls", "parameters", "")
_LISTS = 12  # that are shown; a model with experts has hundreds


@app.command()
@one_line_errors
def sites(
    model: Annotated[str, typer.Argument(metavar="MODULE:FACTORY", help="A callable that returns the model, or it.")],
    layers: Annotated[
        list[str] | None, typer.Option(help="auto, embed, final, a module or a glob; may be repeated.")
    ] = None,
    probe: Annotated[Path | None, typer.Option(help="A probe that Probe.save wrote, whose first block is run.")] = None,
) -> None:
    """Show which modules of a model would be measured, by a pass over one block, and which lists could be its blocks.

    Without a probe the block is one of made-up tokens.

    Raises:
        ValueError: It does not show which modules are the blocks, after the table of the lists has been shown.
    """
    made = load_model(model)
    from ibtrack.capture.blocks import UnclearBlocks
    from ibtrack.probe.probe import Probe
    from ibtrack.tracking.sites import find_sites

    try:
        found = find_sites(made, None if probe is None else Probe.load(probe), layers or "auto")
    except UnclearBlocks as error:
        if error.found:
            say(f"{lists_table(error.found)}\n")
        raise ValueError(error.summary) from error
    say(sites_table(found))
    if found.candidates:
        say(f"\n{lists_table(found.candidates, measured=found.sites)}")


def load_model(name: str) -> nn.Module:
    """Import a model, or call what makes it.

    Args:
        name: ``module:factory``, the import path of a module and the name of a callable without arguments, or of a
            model, in it; the working directory is looked into as well.

    Raises:
        ValueError: There is no such module or name, or it makes no ``torch.nn.Module``.
    """
    module_name, separator, attribute = name.partition(":")
    if not (module_name and separator and attribute):
        raise ValueError(f"MODULE:FACTORY must look like package.module:make_model, got {name!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as of a program that is run there
    try:
        thing: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            thing = getattr(thing, part)
    except ModuleNotFoundError as error:
        raise ValueError(f"MODULE:FACTORY {name!r}: there is no module {error.name!r}") from error
    except AttributeError as error:
        raise ValueError(f"MODULE:FACTORY {name!r}: {error}") from error
    from torch import nn

    made = thing if isinstance(thing, nn.Module) else thing() if callable(thing) else thing
    if not isinstance(made, nn.Module):
        raise ValueError(f"MODULE:FACTORY must give a torch.nn.Module, got {type(made).__name__} from {name!r}")
    return made


def sites_table(found: FoundSites) -> str:
    """Write the modules that would be measured as a table.

    Args:
        found: What `ibtrack.find_sites` has found.
    """
    rows = [
        (
            each.site,
            each.name,
            each.kind,
            _shape(each.shape),
            "?" if each.calls is None else str(each.calls),
            f"{each.parameters:,}",
        )
        for each in found.measured
    ]
    return text_table([SITES_HEAD, *rows])


def lists_table(candidates: Sequence[Candidate], measured: dict[str, str] | None = None) -> str:
    """Write the lists of modules that could be the blocks as a table, those that run most parameters first.

    Args:
        candidates: The lists.
        measured: Site to module of what is measured, if it is known.
    """
    sites = {name: site for site, name in (measured or {}).items() if site[0] == "L"}
    rows = []
    for each in candidates[:_LISTS]:
        own = [sites[name] for name in each.members if name in sites]
        use = f"measured as {own[0]} to {own[-1]}" if len(own) == len(each.members) else each.why_not
        fewest, most = each.calls
        rows.append(
            (
                each.pattern,
                str(len(each.members)),
                ", ".join(each.classes[:3]) + (" …" if len(each.classes) > 3 else ""),
                _shape(each.shape),
                str(most) if fewest == most else f"{fewest} to {most}",
                f"{each.parameters:,}",
                use or "hand a stream on",
            )
        )
    left_out = len(candidates) - len(rows)
    return text_table([LISTS_HEAD, *rows]) + (f"\nand {left_out} smaller lists" if left_out else "")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else " x ".join(map(str, shape))
