"""Families of published checkpoints as data: how a suite names its repositories and revisions, its stages and tokens.

Each family is one YAML file in the folder ``families`` beside this module, and a user may give the path of another one.
What a file says without having been checked is marked ``verified: false`` there, and nothing is called faulty by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from ibtrack._checks import needs
from ibtrack.replay.validation import in_words

GENERIC = "generic"
FOLDER = Path(__file__).parent / "families"
TOKEN_UNITS = {"": 1, "M": 10**6, "B": 10**9, "T": 10**12}
_GROUPS = {"step", "tokens", "unit", "stage", "ingredient", "seed"}


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps at equal distances.

    Attributes:
        first: First step.
        last: Last step, which is one of them.
        every: Steps from one to the next.
    """

    first: Annotated[int, msgspec.Meta(ge=0)]
    last: Annotated[int, msgspec.Meta(ge=0)]
    every: Annotated[int, msgspec.Meta(ge=1)]


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps that a suite says it has published.

    Attributes:
        steps: Single steps and ranges, as they stand in the names.
        size: Size of the model whose list it is; None for all.
        stage: Stage whose list it is; None where the family has but one.
        verified: Whether the list has been compared with what the suite itself says.
    """

    steps: tuple[int | Range, ...]
    size: str | None = None
    stage: str | None = None
    verified: bool = True

    def numbers(self) -> list[int]:
        """List the steps in their order.

        Example:
            >>> Published((0, Range(10, 30, 10))).numbers()
            [0, 10, 20, 30]
        """
        every: set[int] = set()
        for part in self.steps:
            every |= {part} if isinstance(part, int) else {*range(part.first, part.last + 1, part.every)}
        return sorted(every)


class Quirk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something known about repositories of a family.

    Attributes:
        says: One sentence.
        where: Regular expression of the repositories that it is about; None for all.
    """

    says: str
    where: str | None = None


class Repositories(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Repositories of one family whose names have one form.

    Attributes:
        pattern: Regular expression that the whole id matches; a group ``size`` tells sizes apart.
        run: Repository whose run these checkpoints belong to, where it is another one; ``{size}`` and other groups of
            the pattern are filled in.
        also: Further repositories that hold checkpoints of the same run.
    """

    pattern: str
    run: str | None = None
    also: tuple[str, ...] = ()


class Name(NamedTuple):
    """What the name of a revision or a folder tells.

    Attributes:
        step: Step, as counted in the stage; None if the name does not tell it.
        tokens: Tokens that the name states, in ``unit``; None if it states none.
        unit: Number of tokens that one of ``tokens`` stands for.
        stage: Stage of the run; None if the name does not tell it.
        line: Ingredient or seed: which of several branches of a stage, or of a run, it is on; None where there is one.
    """

    step: int | None
    tokens: int | None = None
    unit: int = 1
    stage: str | None = None
    line: str | None = None

    @property
    def label(self) -> str | None:
        """Stage and line in one word, such as ``stage2-ingredient1``; None where the name tells neither."""
        return "-".join(filter(None, (self.stage, self.line))) or None


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A suite of published checkpoints.

    Attributes:
        name: What it is called in a command.
        title: What it is called in a sentence.
        repositories: Forms of its repositories; none for a rule that fits every repository.
        revisions: Regular expressions of its revisions, the first that matches the whole name counts. Groups: ``step``;
            ``tokens`` and ``unit`` (``B`` if left out); ``stage``; ``ingredient`` or ``seed``.
        near_misses: Regular expressions of names that lack a part, such as the stage: they are listed as faulty.
        stages: Stages in the order in which they follow one another; others come after them, by their names.
        counts_on: Whether the steps of a later stage go on from those of the earlier one in the names themselves.
        line: Ingredient or seed that is taken unless another is asked for; by default the first by name.
        tokens_per_step: Tokens of one optimizer step, by size where it differs; None or a missing size where it is not
            known.
        tokens_rounded: How tokens in names are rounded: ``up``, or ``unknown``, which checks none.
        published: Lists of steps that the suite has published.
        main: What the revision ``main`` holds: ``last`` checkpoint of the run, ``other`` weights (such as an average),
            or ``unknown``.
        same_steps: Steps whose weights are equal by nature, such as the first two where the first update has rate 0.
        verified: Whether names, stages and tokens have been compared with what the suite itself says.
        quirks: What else is known.
    """

    name: str
    title: str
    revisions: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    repositories: tuple[Repositories, ...] = ()
    near_misses: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    counts_on: bool = False
    line: str | None = None
    tokens_per_step: int | dict[str, int] | None = None
    tokens_rounded: Literal["up", "unknown"] = "unknown"
    published: tuple[Published, ...] = ()
    main: Literal["last", "other", "unknown"] = "unknown"
    same_steps: tuple[int, ...] = ()
    verified: bool = True
    quirks: tuple[Quirk, ...] = ()

    def matches(self, repository: str) -> Repositories | None:
        """Find the form that a repository has, or None if it is not of this family.

        Args:
            repository: Id of the repository, ``owner/name``.
        """
        return next((form for form in self.repositories if re.fullmatch(form.pattern, repository)), None)

    def size(self, repository: str) -> str | None:
        """Tell the size of the model in a repository, as its name spells it; None where the name does not tell.

        Args:
            repository: Id of the repository, ``owner/name``.
        """
        return self._groups(repository).get("size")

    def run(self, repository: str) -> str:
        """Name the repository whose run the checkpoints of another, or of the same, belong to.

        Args:
            repository: Id of the repository, ``owner/name``.
        """
        form = self.matches(repository)
        return repository if form is None or form.run is None else _filled(form.run, self._groups(repository))

    def also(self, repository: str) -> tuple[str, ...]:
        """List the further repositories of the run of a repository.

        Args:
            repository: Id of the repository, ``owner/name``.
        """
        form = self.matches(repository)
        return () if form is None else tuple(_filled(other, self._groups(repository)) for other in form.also)

    def step_tokens(self, repository: str) -> int | None:
        """Tell the tokens of one optimizer step; None where they are not known.

        Args:
            repository: Id of the repository, ``owner/name``.
        """
        by_size = self.tokens_per_step
        return by_size.get(self.size(repository) or "") if isinstance(by_size, dict) else by_size

    def read(self, name: str) -> Name | None:
        """Read the name of a revision, or of a folder; None if it is none of a checkpoint of this family.

        Args:
            name: Name of a branch, a tag, or a folder.

        Example:
            >>> load_family("olmo2").read("stage1-step1000-tokens3B")
            Name(step=1000, tokens=3, unit=1000000000, stage='stage1', line=None)
        """
        return _read(name, self.revisions)

    def read_near_miss(self, name: str) -> Name | None:
        """Read a name that looks like that of a checkpoint but lacks a part; None if it looks like none.

        Args:
            name: Name of a branch, a tag, or a folder.
        """
        return _read(name, self.near_misses)

    def said_of(self, repository: str) -> list[str]:
        """List what else is known about a repository, one sentence each.

        Args:
            repository: Id of the repository, ``owner/name``.
        """
        return [each.says for each in self.quirks if each.where is None or re.fullmatch(each.where, repository)]

    def listed(self, repository: str) -> list[Published]:
        """Choose the published lists that hold for a repository.

        Args:
            repository: Id of the repository, ``owner/name``.
        """
        return [each for each in self.published if each.size in (None, self.size(repository))]

    def _groups(self, repository: str) -> Mapping[str, str]:
        form = self.matches(repository)
        found = None if form is None else re.fullmatch(form.pattern, repository)
        return {} if found is None else {key: value or "" for key, value in found.groupdict().items()}


def family_names() -> list[str]:
    """List the names of the families that come with the package, the generic one last."""
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return [name for name in names if name != GENERIC] + [GENERIC]


def load_family(name_or_path: str | Path) -> Family:
    """Load a family by its name, or from a YAML file of one's own.

    Args:
        name_or_path: One of `family_names`, or the path of a file that ends in ``.yaml`` or ``.yml``.

    Raises:
        ValueError: There is no family of that name, or the file is none that describes one.
        FileNotFoundError: There is no such file.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return _parsed(path.expanduser(), path.expanduser().stat().st_mtime_ns)
    if str(name_or_path) not in family_names():
        known = ", ".join(family_names())
        raise ValueError(f"family must be one of {known}, or the path of a YAML file, got {str(name_or_path)!r}")
    return _parsed(FOLDER / f"{name_or_path}.yaml", 0)


def family_of(repository: str) -> Family:
    """Find the family that a repository belongs to by its name; the generic rule if it is of none.

    Args:
        repository: Id of the repository, ``owner/name``.

    Example:
        >>> family_of("EleutherAI/pythia-70m-deduped").name, family_of("owner/name").name
        ('pythia', 'generic')
    """
    families = map(load_family, family_names())
    return next((family for family in families if family.matches(repository)), load_family(GENERIC))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Make a key by which names sort as a reader expects: numbers by their value.

    Args:
        text: Any name.

    Example:
        >>> sorted(["step10", "step9"], key=natural)
        ['step9', 'step10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts)


@cache
def _parsed(path: Path, changed_at: int) -> Family:
    """Read a file, once for each time at which it was changed.

    Raises:
        ValueError: It describes no family.
    """
    with needs("a family of checkpoints", extra="hub"):
        import yaml
    try:
        family = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Family)
        _check(family)
    except (yaml.YAMLError, msgspec.ValidationError, re.error, UnicodeDecodeError, ValueError) as error:
        what = in_words(error) if isinstance(error, msgspec.ValidationError) else " ".join(str(error).split())
        raise ValueError(f"the family in {path} must be as the docs describe one: {what}") from error
    return family


def _check(family: Family) -> None:
    """Refuse patterns that do not compile, groups that nothing reads, and placeholders that nothing fills.

    Raises:
        ValueError: There is one.
    """
    for pattern in (*family.revisions, *family.near_misses):
        groups = {*re.compile(pattern).groupindex}
        if groups - _GROUPS:
            raise ValueError(f"groups of {pattern!r} must be among {sorted(_GROUPS)}, got {sorted(groups - _GROUPS)}")
    for pattern in family.revisions:
        if "step" not in re.compile(pattern).groupindex:
            raise ValueError(f"{pattern!r} must have a group 'step'")
    for quirk in family.quirks:
        re.compile(quirk.where or "")
    for form in family.repositories:
        groups = {*re.compile(form.pattern).groupindex}
        for text in filter(None, (form.run, *form.also)):
            if {*re.findall(r"\{(\w*)\}", text)} - groups:
                raise ValueError(f"{text!r} must name groups of {form.pattern!r} alone")


def _filled(template: str, groups: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: groups[found[1]], template)


def _read(name: str, patterns: Iterable[str]) -> Name | None:
    found = next(filter(None, (re.fullmatch(pattern, name) for pattern in patterns)), None)
    if found is None:
        return None
    groups = found.groupdict()
    step, tokens = groups.get("step"), groups.get("tokens")
    return Name(
        step=None if step is None else int(step),
        tokens=None if tokens is None else int(tokens),
        unit=TOKEN_UNITS[groups.get("unit") or "B"] if tokens is not None else 1,
        stage=groups.get("stage"),
        line=groups.get("ingredient") or groups.get("seed"),
    )
