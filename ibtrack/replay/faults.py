"""What is wrong with checkpoints, from names, sizes and hashes alone: no weights have been read.

A fault is one sentence about one checkpoint. Of checkpoints with equal weights at most one can be what its name says:
where the last checkpoint of the run is among them it is that one, and elsewhere nothing here tells which it is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ibtrack.replay.checkpoint import HUGGING_FACE, Checkpoint
from ibtrack.replay.families import Family, Name
from ibtrack.replay.needed_files import VOCABULARY, weights

_MOST_NAMES = 4  # in one sentence
_SAME_STEPS = (0, 1)  # where the rate rises from 0, the first update changes nothing
_ONE_AT_MOST = "at most one is what its name says, and nothing that can be read before loading tells which"
Weights = tuple[tuple[str, str], ...]


class Known(NamedTuple):
    """What is known of a source of checkpoints.

    Attributes:
        family: Family whose rules its names were read by; None for a folder.
        main: What its revision ``main`` holds; None where there is none, or where it tells nothing.
        run: Name of the run that its checkpoints belong to; empty where the source is a run by itself.
        last: Last step of that run, by its names and by what is published; None takes the last that there is.
    """

    family: Family | None = None
    main: Checkpoint | None = None
    run: str = ""
    last: int | None = None


def token_fault(name: Name, family: Family, repository: str) -> str | None:
    """Say that the tokens in a name are not those of its steps; None where they are, or where that is not known.

    Args:
        name: What a name tells.
        family: Family whose rules it was read by.
        repository: Repository whose run it is, which tells the size.

    Example:
        >>> from ibtrack.replay.families import load_family
        >>> token_fault(Name(1000, 9, 10**9, "stage1"), load_family("olmo2"), "allenai/OLMo-2-1124-7B")
        'its name says 9 billion tokens, but 1,000 steps of 4,194,304 tokens are 5'
    """
    per_step = family.step_tokens(repository)
    if name.step is None or name.tokens is None or per_step is None or not family.verified:
        return None
    fitting = -(-name.step * per_step // name.unit)
    if family.tokens_rounded != "up" or name.tokens == fitting:
        return None
    unit = {10**6: " million", 10**9: " billion", 10**12: " trillion"}.get(name.unit, "")
    return f"its name says {name.tokens:,}{unit} tokens, but {name.step:,} steps of {per_step:,} tokens are {fitting:,}"


def mark_equal(checkpoints: Sequence[Checkpoint], known: Mapping[str, Known]) -> list[Checkpoint]:
    """Mark the checkpoints whose weights, or a part of them, are those of another step.

    Args:
        checkpoints: Checkpoints of one run, or of several that go on from one another, in the order of their steps.
            Those that have faults already, such as a name without a stage, are compared with the others and blame none.
        known: Source to what is known of it; a source of which nothing is known is a run by itself.

    Returns:
        The same checkpoints in the same order, with what was found added to their faults.
    """
    sound = [each for each in checkpoints if each.step is not None and not each.faults]
    marks: dict[int, list[str]] = defaultdict(list)
    true = _true_ones(sound, known)
    for group in _equal(sound):
        _mark_group(group, true, known, marks)
    _mark_like_main(sound, known, marks)
    _mark_shards(sound, true, marks)
    _mark_doubtful(checkpoints, sound, marks)
    return [_with(each, marks[id(each)]) for each in checkpoints]


def mark_tokenizers(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Mark the checkpoints whose tokenizer is another than that of most of the others.

    Args:
        checkpoints: Checkpoints of one run in the order of their steps.

    Returns:
        The same checkpoints in the same order, with what was found added to their faults.
    """
    marks: dict[int, list[str]] = defaultdict(list)
    for path in VOCABULARY:
        digests = {id(each): digest for each in checkpoints if (digest := _digest(each, path)) is not None}
        counts = Counter(digests.values())
        if len(counts) < 2 or len({_kind(digest) for digest in counts}) > 1:  # a blob of git and a sha256 tell nothing
            continue
        (usual, number), *_ = counts.most_common()  # of equal numbers the earliest
        for each in checkpoints:
            if digests.get(id(each), usual) != usual:
                marks[id(each)].append(
                    f"its {path} is another than that of {number} of the {len(digests)} checkpoints that have one"
                )
    return [_with(each, marks[id(each)]) for each in checkpoints]


def tokenizers_of(checkpoint: Checkpoint) -> dict[str, str]:
    """List the files that make the tokenizer of a checkpoint, path to digest, those whose digest is known.

    Args:
        checkpoint: A checkpoint.
    """
    return {path: digest for path in VOCABULARY if (digest := _digest(checkpoint, path)) is not None}


def mark_pickles(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Mark the checkpoints whose weights are there as pickles alone.

    Args:
        checkpoints: Checkpoints in Hugging Face format, in any order.

    Returns:
        The same checkpoints in the same order, with what was found added to their faults.
    """
    marked = []
    for each in checkpoints:
        pickles = [shard.path for shard in weights(each.files) if shard.path.endswith(".bin")]
        if pickles:
            each = _with(
                each, [f"its weights are there as pickles alone ({_some(pickles)}), which are read only if asked for"]
            )
        marked.append(each)
    return marked


def signature(checkpoint: Checkpoint) -> Weights | None:
    """Make what tells the weights of a checkpoint: names and hashes of its shards; None where a hash is not known.

    Args:
        checkpoint: A checkpoint of any layout.
    """
    ends = (".safetensors", ".bin", ".ckpt", ".distcp")
    of_others = (file for file in checkpoint.files if file.path.endswith(ends))
    shards = weights(checkpoint.files) if checkpoint.layout == HUGGING_FACE else tuple(sorted(of_others))
    if not shards or any(shard.digest is None for shard in shards):
        return None
    return tuple((shard.path, str(shard.digest)) for shard in shards)


def _true_ones(sound: Sequence[Checkpoint], known: Mapping[str, Known]) -> dict[int, Checkpoint]:
    """Find the last checkpoints of runs, whose weights are the true ones unless ``main`` speaks against them."""
    lasts: dict[str, Checkpoint] = {}
    for each in sound:
        lasts[_of(each, known).run or each.source] = each
    return {id(each): each for each in lasts.values() if _is_true(each, _of(each, known))}


def _is_true(last: Checkpoint, known: Known) -> bool:
    """Tell whether the last checkpoint that there is holds the last weights of its run."""
    if known.last is not None and last.step != known.last:
        return False
    if not _main_is_last(known) or known.main is None:
        return True
    ours, theirs = signature(last), signature(known.main)
    if ours is None or theirs is None or [path for path, _ in ours] != [path for path, _ in theirs]:
        return True  # main lies there in other files, and tells nothing
    return ours == theirs


def _main_is_last(known: Known) -> bool:
    return known.main is not None and known.family is not None and known.family.verified and known.family.main == "last"


def _of(checkpoint: Checkpoint, known: Mapping[str, Known]) -> Known:
    return known.get(checkpoint.source, Known())


def _equal(sound: Sequence[Checkpoint]) -> list[list[Checkpoint]]:
    """Group the checkpoints of different steps that have equal weights."""
    groups: dict[Weights, list[Checkpoint]] = defaultdict(list)
    for each in sound:
        found = signature(each)
        if found is not None:
            groups[found].append(each)
    return [group for group in groups.values() if len({each.step for each in group}) > 1]


def _mark_group(
    group: Sequence[Checkpoint],
    true: Mapping[int, Checkpoint],
    known: Mapping[str, Known],
    marks: dict[int, list[str]],
) -> None:
    """Mark checkpoints of equal weights: all but the true one, or all where nothing tells which it is."""
    family = _of(group[0], known).family
    natural = _SAME_STEPS if family is None else family.same_steps
    if all(each.step in natural for each in group):
        return
    truth = _only([each for each in group if id(each) in true])
    for each in group:
        others = [other.name for other in group if other.step != each.step]
        if truth is None:
            marks[id(each)].append(f"it holds the same weights as {_some(others)}: {_ONE_AT_MOST}")
        elif each.step != truth.step:
            marks[id(each)].append(f"it holds the weights of {truth.name}, the last checkpoint")


def _mark_like_main(sound: Sequence[Checkpoint], known: Mapping[str, Known], marks: dict[int, list[str]]) -> None:
    """Mark what holds the weights of ``main`` where that is the last checkpoint of the run, which may not be listed."""
    for each in sound:
        of = _of(each, known)
        if not _main_is_last(of) or of.main is None or marks[id(each)] or each.step == of.last:
            continue
        if signature(each) == signature(of.main) is not None:
            marks[id(each)].append("it holds the weights of main, which are those of the last step")


def _mark_shards(sound: Sequence[Checkpoint], true: Mapping[int, Checkpoint], marks: dict[int, list[str]]) -> None:
    """Mark checkpoints some of whose shards, but not all, are those of another step."""
    holders: dict[tuple[str, str], list[Checkpoint]] = defaultdict(list)
    having: Counter[str] = Counter()
    for each in sound:
        for path, digest in signature(each) or ():
            holders[path, digest].append(each)
            having[path] += 1
    for (path, _), group in holders.items():
        is_trained = len(group) < having[path]  # else all share it: a part of the model that stays as it was
        if is_trained and len({signature(each) for each in group}) > 1:
            _mark_shard(path, group, _only([each for each in group if id(each) in true]), marks)


def _mark_shard(path: str, group: Sequence[Checkpoint], truth: Checkpoint | None, marks: dict[int, list[str]]) -> None:
    for each in group:
        others = [other.name for other in group if signature(other) != signature(each)]
        if truth is None:
            marks[id(each)].append(f"its {path} is that of {_some(others)}, while other shards differ: {_ONE_AT_MOST}")
        elif signature(each) != signature(truth):
            marks[id(each)].append(f"its {path} is that of {truth.name}, the last checkpoint")


def _only(found: Sequence[Checkpoint]) -> Checkpoint | None:
    """Take the only one; None where there is none, or several."""
    return found[0] if len(found) == 1 else None


def _mark_doubtful(checkpoints: Sequence[Checkpoint], sound: Sequence[Checkpoint], marks: dict[int, list[str]]) -> None:
    """Say of checkpoints that have faults already whose weights they hold."""
    names: dict[Weights, list[Checkpoint]] = defaultdict(list)
    for each in sound:
        found = signature(each)
        if found is not None:
            names[found].append(each)
    kept = {id(each) for each in sound}
    for each in checkpoints:
        found = signature(each)
        if id(each) not in kept and found is not None and names.get(found):
            others = [other.name for other in names[found]]
            marks[id(each)].append(f"it holds the weights of {_some(others)}")


def _digest(checkpoint: Checkpoint, path: str) -> str | None:
    return next((file.digest for file in checkpoint.files if file.path == path), None)


def _kind(digest: str) -> str:
    return digest.partition(":")[0] if ":" in digest else "sha256"


def _some(names: Sequence[str]) -> str:
    """Name some, and count the rest.

    Example:
        >>> _some(["step1"]), _some([f"step{number}" for number in range(9)])
        ('step1', 'step0, step1, step2, step3 and 5 others')
    """
    if len(names) <= _MOST_NAMES + 1:
        return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} others"


def _with(checkpoint: Checkpoint, faults: Sequence[str]) -> Checkpoint:
    return replace(checkpoint, faults=(*checkpoint.faults, *faults)) if faults else checkpoint
