"""Blocks to labelled positions: which positions of a probe are measured, and which labels and document each has.

Letters: S blocks, T block length, N positions, M labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ibtrack._checks import check_integer, check_integers
from ibtrack.probe.copies import KEPT, LEFT_OUT, Copies, copies_in_blocks
from ibtrack.probe.kgrams import SIDES, kept_positions, kgram_labels
from ibtrack.record.keys import order_name

UNPAIRED_LABEL_SETS = ("preference",)  # label sets that are not a pair of input and output


class LabelledPositions(NamedTuple):
    """The positions of a probe that have every label.

    Attributes:
        grid: (S, T), or (S,) where an input has one label; activations are flattened over it.
        positions: (N,) indices into the flattened grid, ascending.
        documents: (N,) document of each position, numbered from 0 without gaps.
        orders: Names of the label orders, such as ``("token", "bigram")``.
        label_sets: Name, such as ``input/token``, to (N,) labels, numbered from 0 without gaps.
        copies: What was found of copies among the documents; None if they were not looked for, or cannot be told.
    """

    grid: tuple[int, ...]
    positions: Tensor
    documents: Tensor
    orders: tuple[str, ...]
    label_sets: dict[str, Tensor]
    copies: Copies | None


def label_kgrams(
    tokens: Tensor,
    orders: Sequence[int],
    documents: Tensor | None,
    skip: int,
    *,
    find_copies: bool = True,
    keep_copies: bool = False,
) -> LabelledPositions:
    """Label every position with the k-gram that ends at it and the one that begins after it.

    Args:
        tokens: (S, T) token ids, from `check_tokens`.
        orders: Lengths k of the k-grams.
        documents: (S,) or (S, T) document of each block or token, negative for padding; None if every block is a
            document of its own.
        skip: Number of positions to leave out at the beginning of every block.
        find_copies: Whether copies are looked for.
        keep_copies: Whether positions of documents that are copies of others are kept.

    Raises:
        ValueError: Orders or documents are not of this form, no position has all of its k-grams, or all documents are
            copies of one.
    """
    lengths = check_orders(orders)
    document_ids = _spread_documents(documents, tuple(tokens.shape))
    mask = kept_positions(document_ids, max(lengths))
    mask[:, :skip] = False
    if not mask.any():
        raise ValueError(
            f"orders up to {max(lengths)} and skip={skip} leave no position in blocks of length {tokens.shape[1]}; "
            f"orders need {2 * max(lengths)} tokens of one document, so use longer blocks, fewer orders or skip less"
        )
    copies = None
    if find_copies:
        mask, copies = _without_copies(tokens, document_ids, mask, keep_copies)
    label_sets = {f"{side}/{order_name(k)}": ids for (side, k), ids in kgram_labels(tokens, mask, lengths).items()}
    orders_by_name = tuple(order_name(k) for k in lengths)
    return _labelled(mask, document_ids, orders_by_name, label_sets, copies)


def label_as_given(
    num_blocks: int,
    labels: Mapping[str, Tensor],
    documents: Tensor | None,
    skip: int,
    *,
    tokens: Tensor | None = None,
    keep_copies: bool = False,
) -> LabelledPositions:
    """Take labels that somebody has made, at the positions that have all of them.

    Args:
        num_blocks: Number of blocks S.
        labels: ``input`` and ``output``, or several pairs ``input/<name>`` and ``output/<name>``, with or without
            ``preference``: integers of shape (S,) or (S, T), negative where there is no label.
        documents: (S,) or (S, T) document of each block or position, negative where it is not to be measured; None if
            every block is a document of its own.
        skip: Number of positions to leave out at the beginning of every block.
        tokens: (S, T) token ids, in which copies are looked for; None if the inputs are not text.
        keep_copies: Whether positions of documents that are copies of others are kept.

    Raises:
        ValueError: Labels or documents are not of this form, no position has all labels and a document, or all
            documents are copies of one.
    """
    sets = _named_sets(labels)
    grid = _common_grid(sets, num_blocks)
    if skip and len(grid) == 1:
        raise ValueError(f"skip must be 0 where inputs have one label each, got {skip}")
    for name in sets.keys() & set(UNPAIRED_LABEL_SETS):
        _check_two_labels(name, sets[name])
    document_ids = _spread_documents(documents, grid)
    mask = torch.stack([ids >= 0 for ids in sets.values()]).all(0) & (document_ids >= 0)
    if skip:
        mask[:, :skip] = False
    if not mask.any():
        raise ValueError("the probe is empty: no position has all of its labels and a document")
    copies = None
    if tokens is not None:
        mask, copies = _without_copies(tokens, document_ids, mask, keep_copies)
    orders = tuple(dict.fromkeys(name.partition("/")[2] for name in sets if name not in UNPAIRED_LABEL_SETS))
    return _labelled(mask, document_ids, orders, {name: dense(ids[mask]) for name, ids in sets.items()}, copies)


def check_orders(orders: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths of the k-grams, ascending, each once.

    Raises:
        ValueError: There is none, one is below 1, or names stand where lengths should.
    """
    if not orders:
        raise ValueError("orders must name at least one k, such as (1, 2, 3, 4), got none")
    if any(isinstance(k, str) for k in orders):
        raise ValueError(f"orders must be lengths of k-grams, such as (1, 2), got {orders!r}")
    return tuple(sorted({check_integer("orders", int(k), minimum=1) for k in orders}))


def check_tokens(tokens: Tensor) -> Tensor:
    """Return (S, T) token ids as int64 if they are integers of at least 0.

    Raises:
        ValueError: They are not.
    """
    tokens = check_integers("tokens", tokens, ndim=2)
    if int(tokens.min()) < 0:
        raise ValueError(f"tokens must be at least 0, got {int(tokens.min())}; mark padding by a negative document")
    return tokens


def dense(ids: Tensor) -> Tensor:
    """Number the distinct ids from 0 without gaps, in ascending order.

    Example:
        >>> dense(torch.tensor([7, 3, 7, 9]))
        tensor([1, 0, 1, 2])
    """
    numbered: Tensor = torch.unique(ids, return_inverse=True)[1]
    return numbered


def _without_copies(tokens: Tensor, document_ids: Tensor, mask: Tensor, keep: bool) -> tuple[Tensor, Copies | None]:
    """Take the positions of copies out of a mask, unless they are to be kept.

    Raises:
        ValueError: One document is left of several.
    """
    spread = [each.view(len(tokens), -1).expand(tokens.shape) for each in (document_ids, mask)]
    found = copies_in_blocks(tokens, *spread)
    if found is None:
        return mask, None
    if keep:
        return mask, Copies(found.found, found.documents, KEPT)
    if found.found and found.documents - found.found == 1:
        raise ValueError(
            f"the documents of a probe must not all be copies of one, got {found.documents} that are; take other text, "
            "or keep_copies=True"
        )
    left = mask & ~found.mask.any(1) if mask.ndim == 1 else mask & ~found.mask
    return left, Copies(found.found, found.documents, LEFT_OUT)


def _labelled(
    mask: Tensor,
    document_ids: Tensor,
    orders: tuple[str, ...],
    label_sets: dict[str, Tensor],
    copies: Copies | None,
) -> LabelledPositions:
    """Put together what a mask of positions, the document of each and the labels of those kept say."""
    positions = mask.flatten().nonzero().flatten()
    documents = dense(document_ids.flatten()[positions])
    return LabelledPositions(tuple(mask.shape), positions, documents, orders, label_sets, copies)


def _named_sets(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the label sets under their full names, on the CPU, if they pair an input with an output.

    Raises:
        ValueError: An input or an output has no partner, there is no label set, or one does not hold integers.
    """
    sets = {
        name if "/" in name or name in UNPAIRED_LABEL_SETS else f"{name}/label": check_integers(name, ids).cpu()
        for name, ids in labels.items()
    }
    orders = {name.partition("/")[2] for name in sets if name not in UNPAIRED_LABEL_SETS}
    wanted = {f"{side}/{order}" for order in orders for side in SIDES}
    if set(sets) - set(UNPAIRED_LABEL_SETS) != wanted or not sets:
        raise ValueError(
            f"labels must pair an 'input' with an 'output' for each name, or be 'preference', got {sorted(labels)}"
        )
    return sets


def _common_grid(sets: Mapping[str, Tensor], num_blocks: int) -> tuple[int, ...]:
    """Return the shape that all label sets have.

    Raises:
        ValueError: They have different shapes, or one that does not fit the blocks.
    """
    shapes = {tuple(ids.shape) for ids in sets.values()}
    grid = next(iter(shapes))
    if len(shapes) > 1 or len(grid) not in (1, 2) or grid[0] != num_blocks:
        raise ValueError(f"all labels must have one shape, ({num_blocks},) or ({num_blocks}, T), got {sorted(shapes)}")
    return grid


def _check_two_labels(name: str, ids: Tensor) -> None:
    """Refuse a label set in which 0 and 1 are not both there, or in which another label is.

    Raises:
        ValueError: It is such a set.
    """
    values: list[int] = torch.unique(ids).tolist()
    if [value for value in values if value >= 0] != [0, 1]:
        raise ValueError(f"{name} must be 1 and 0, at some positions each, and negative elsewhere, got {values[:9]}")


def _spread_documents(documents: Tensor | None, grid: tuple[int, ...]) -> Tensor:
    """Return the document of every place of the grid, from that of every block if that is what is given.

    Raises:
        ValueError: Documents are not integers, or have neither the shape of the blocks nor that of the grid.
    """
    if documents is None:
        documents = torch.arange(grid[0])
    documents = check_integers("documents", documents).cpu()
    if tuple(documents.shape) not in (grid, grid[:1]):
        raise ValueError(f"documents must have shape {grid[:1]} or {grid}, got {tuple(documents.shape)}")
    return documents.reshape(*documents.shape, *[1] * (len(grid) - documents.ndim)).expand(grid)
