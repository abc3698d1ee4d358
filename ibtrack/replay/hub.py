"""Checkpoints in a repository of the hub: its branches and tags, or the folders in one of them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, NamedTuple

from ibtrack.replay.checkpoint import Checkpoint, File
from ibtrack.replay.families import GENERIC, Family, Name, family_of, load_family, natural
from ibtrack.replay.faults import mark_pickles
from ibtrack.replay.hub_client import HubClient
from ibtrack.replay.hub_download import BLOB, quiet, what_differs
from ibtrack.replay.hub_errors import HubError, explained, is_transient
from ibtrack.replay.needed_files import choose_files, index_of, is_weights, missing_shards
from ibtrack.replay.stages import Named, place, step_order

__all__ = ["HubError", "HubSource", "Revision", "is_transient"]

WORKERS = 16  # requests at one time
_MAIN = "main"
_DOWNLOADS = 4  # files at one time


class Revision(NamedTuple):
    """A branch or a tag.

    Attributes:
        name: What it is called.
        commit: Commit that it points to.
    """

    name: str
    commit: str


class HubSource:
    """The checkpoints of a repository of the hub.

    Args:
        repository: Id of the repository, ``owner/name``. After an ``@`` there may be a pattern of revisions with ``*``
            and ``?``, or ``revision=step`` for one whose name does not tell its step.
        family: Family whose rules the names are read by; by default the name of the repository tells.
        stages: Stages or lines to take; by default all stages, and of several lines the first.
        token: Token of the hub; None takes the one that ``huggingface_hub`` knows, False takes none.
        endpoint: Address of the hub, by default that of ``huggingface_hub``.
        pickles: Whether checkpoints that have nothing but pickled weights count as sound.
        remote_code: Whether Python files of the repository are needed to load its models.
        progress: Called with the number of revisions listed so far and their number, from several threads in turn.

    Attributes:
        name: Id of the repository.

    Raises:
        ValueError: The repository is none that could exist, or the family is none.

    Example:
        >>> HubSource("EleutherAI/pythia-70m@step1*").name
        'EleutherAI/pythia-70m'
    """

    def __init__(
        self,
        repository: str,
        *,
        family: Family | None = None,
        stages: Sequence[str] | None = None,
        token: str | bool | None = None,
        endpoint: str | None = None,
        pickles: bool = False,
        remote_code: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.name, self.pattern, self._step = parse_repository(repository)
        self.family = family or family_of(self.name)
        self._stages, self._pickles, self._remote_code, self._progress = stages, pickles, remote_code, progress
        self._client = HubClient(self.name, endpoint=endpoint, token=token)
        self._named: list[Named] | None = None
        self._main: Revision | None = None
        self._trees: dict[str, list[File]] = {}
        self._indexes: dict[str, list[str] | str] = {}
        self._index_lock = Lock()
        self.ignored: list[str] = []

    def checkpoints(self) -> list[Checkpoint]:
        """List the checkpoints in the order of their steps, each with its files and what is wrong with it by itself.

        Raises:
            HubError: The hub does not tell.
            ValueError: No step can be read from any name, or a stage is none of them.
        """
        placed = place(self.named(), self.family, self.name, wanted=self._stages)
        found = self.with_files(placed.checkpoints)
        return found if self._pickles else mark_pickles(found)

    def named(self) -> list[Named]:
        """List the checkpoints by their names alone: two requests, whatever their number.

        Raises:
            HubError: There is no such repository or revision, a token is needed, or the hub cannot be reached.
            ValueError: No step can be read from any name.
        """
        if self._named is None:
            self._client.check_access()
            revisions = self._revisions()
            self._main = next((each for each in revisions if each.name == _MAIN), None)
            self._named = self._read(self._chosen(revisions))
        return self._named

    def main(self) -> Checkpoint | None:
        """List what the branch ``main`` holds; None where there is no such branch.

        Raises:
            HubError: The hub does not tell.
        """
        self.named()
        return (
            None
            if self._main is None
            else self._with_files(Checkpoint(_MAIN, self.name, None, commit=self._main.commit))
        )

    def with_files(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        """List the files of checkpoints, many at one time.

        Args:
            checkpoints: Checkpoints of this repository, of which only the names are known.

        Returns:
            The same checkpoints in the order of their steps.

        Raises:
            HubError: The hub does not tell.
        """
        done, lock = 0, Lock()

        def fill(each: Checkpoint) -> Checkpoint:
            nonlocal done
            filled = self._with_files(each)
            with lock:
                done += 1
                if self._progress is not None:
                    self._progress(done, len(checkpoints))
            return filled

        with self._together(WORKERS) as pool:
            return step_order(pool.map(fill, checkpoints))

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        """Download the files of a checkpoint into a folder, and compare them with what the hub lists.

        Files that are whole are not downloaded again.

        Args:
            checkpoint: One of `checkpoints`.
            folder: Folder that nothing else writes to; it may hold what an earlier try has left.

        Returns:
            The folder that the checkpoint can be loaded from.

        Raises:
            HubError: A file cannot be downloaded, or is not what the hub lists; `is_transient` tells whether to try
                again.
            OSError: The disk is full, or cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for partial in (folder / ".cache" / "huggingface" / "download").rglob("*.incomplete"):
            partial.unlink(missing_ok=True)  # of a process that was killed: huggingface_hub begins such a file again
        with quiet(), self._together(_DOWNLOADS) as pool:
            for done in [pool.submit(self._bring, checkpoint, file, folder) for file in checkpoint.files]:
                done.result()
        return folder / checkpoint.folder

    @contextlib.contextmanager
    def _together(self, number: int) -> Iterator[ThreadPoolExecutor]:
        """Let some threads work; once one has failed, the others begin nothing new.

        Yields:
            The pool of threads.
        """
        pool = ThreadPoolExecutor(number, thread_name_prefix="ibtrack-hub")
        try:
            yield pool
        except BaseException:
            self._client.stopped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            self._client.stopped.clear()

    def _revisions(self) -> list[Revision]:
        """List branches and tags; of a branch and a tag of one name the branch."""
        (refs,) = self._client.listed("refs")
        found: dict[str, Revision] = {}
        for each in (*refs.get("branches", ()), *refs.get("tags", ())):
            found.setdefault(each["name"], Revision(each["name"], each["targetCommit"]))
        return sorted(found.values(), key=lambda each: natural(each.name))

    def _chosen(self, revisions: Sequence[Revision]) -> list[Revision]:
        """Choose the revisions whose names are read: all, or the one that is a step by what the user says.

        Raises:
            HubError: No name fits the pattern.
        """
        if self.pattern is None:
            return [*revisions]
        chosen = [each for each in revisions if fnmatchcase(each.name, self.pattern)]
        if not chosen:
            names = [each.name for each in revisions]
            near = get_close_matches(self.pattern, names, n=3) or names[:3]
            raise HubError(
                f"{self.name} has no revision {self.pattern}; it has {len(names)}, such as {', '.join(near)}"
            )
        return [*revisions] if self._step is None else chosen  # where a stage begins, all of its names tell

    def _read(self, revisions: Sequence[Revision]) -> list[Named]:
        """Read the names: those of checkpoints, those that nearly are, and folders in those that tell nothing.

        Raises:
            ValueError: No step can be read from any.
        """
        found: list[Named] = []
        near: list[Named] = []
        unread: list[Revision] = []
        for each in revisions:
            checkpoint = Checkpoint(each.name, self.name, None, commit=each.commit)
            name = Name(self._step) if self._step is not None else self.family.read(each.name)
            if name is not None:
                found.append(Named(checkpoint, name))
            elif (missed := self._near_miss(each.name)) is not None:
                near.append(Named(checkpoint, *missed))
            else:
                unread.append(each)
        self.ignored = [each.name for each in unread if each.name != _MAIN]
        if not found:
            found = [folder for each in unread for folder in self._folders(each)]
        if not found:
            raise ValueError(self._why_none([each.name for each in revisions]))
        return [each._replace(taken=self._takes(each.checkpoint)) for each in (*found, *near)]

    def _takes(self, checkpoint: Checkpoint) -> bool:
        name = checkpoint.name.removesuffix(checkpoint.folder).rstrip("/") or _MAIN
        return self.pattern is None or any(fnmatchcase(each, self.pattern) for each in (name, checkpoint.name))

    def _near_miss(self, name: str) -> tuple[Name | None, str] | None:
        missed = self.family.read_near_miss(name)
        if missed is not None and missed.step is not None:
            return missed, "stage" if self.family.stages else "line"
        is_like_one = missed is not None or load_family(GENERIC).read_near_miss(name) is not None
        return (None, "step") if is_like_one else None

    def _folders(self, revision: Revision) -> list[Named]:
        """Find folders of a revision that hold weights and whose name tells a step."""
        rule = load_family(GENERIC)
        paths = (PurePosixPath(file.path) for file in self._tree(revision.commit) if is_weights(file.path))
        folders = sorted({str(path.parent) for path in paths if path.parent.name}, key=natural)
        found = []
        for folder in folders:
            name = self.family.read(PurePosixPath(folder).name) or rule.read(PurePosixPath(folder).name)
            if name is not None:
                label = folder if revision.name == _MAIN else f"{revision.name}/{folder}"
                found.append(Named(Checkpoint(label, self.name, None, commit=revision.commit, folder=folder), name))
        return found

    def _why_none(self, names: Sequence[str]) -> str:
        shown = ", ".join(names[:3])
        if [*names] == [_MAIN] or not names:
            return (
                f"{self.name} has no checkpoints but main, and nothing tells its step; "
                f"if it is one, say {self.name}@main=STEP"
            )
        return (
            f"no step can be read from the names of {self.name} ({shown}{' and more' if len(names) > 3 else ''}); "
            f"say {self.name}@NAME=STEP for one of them, or give a family file that reads them"
        )

    def _with_files(self, checkpoint: Checkpoint) -> Checkpoint:
        """List the files of a checkpoint, and say what is wrong with them and with its name."""
        below = f"{checkpoint.folder}/" if checkpoint.folder else ""
        every = [file for file in self._tree(str(checkpoint.commit)) if file.path.startswith(below)]
        inside = [file._replace(path=file.path.removeprefix(below)) for file in every]
        files, problems = choose_files(inside, remote_code=self._remote_code)
        faults = (*checkpoint.faults, *problems, *self._index_faults(checkpoint, files))
        return replace(checkpoint, files=files, faults=faults)

    def _index_faults(self, checkpoint: Checkpoint, files: Sequence[File]) -> list[str]:
        """Compare the index of the shards with the shards; equal indexes are read once."""
        index = index_of(files)
        if index is None:
            return []
        shards = self._shards_named(checkpoint, index)
        if isinstance(shards, str):
            return [f"its {index.path} {shards}"]
        lacking = missing_shards(shards, files)
        return [f"its {index.path} names {', '.join(lacking)}, which is not there"] if lacking else []

    def _shards_named(self, checkpoint: Checkpoint, index: File) -> list[str] | str:
        """Read which shards an index names, or why it cannot be read."""
        path = f"{checkpoint.folder}/{index.path}" if checkpoint.folder else index.path
        key = index.digest or f"{checkpoint.commit}/{path}"
        with self._index_lock:
            if key not in self._indexes:
                try:
                    weight_map = json.loads(self._client.text(path, str(checkpoint.commit)))["weight_map"]
                    self._indexes[key] = sorted({str(shard) for shard in weight_map.values()})
                except (ValueError, KeyError, TypeError, AttributeError):
                    self._indexes[key] = "is no index of shards"
            return self._indexes[key]

    def _tree(self, commit: str) -> list[File]:
        """List all files of a commit, each commit once."""
        if commit not in self._trees:
            entries = self._client.listed(f"tree/{commit}", recursive="true", expand="false")
            self._trees[commit] = [_file(entry) for entry in entries if entry["type"] == "file"]
        return self._trees[commit]

    def _bring(self, checkpoint: Checkpoint, file: File, folder: Path) -> None:
        """Download a file unless it is there and whole, and compare it with what the hub lists.

        Raises:
            HubError: It cannot be downloaded, or it differs.
        """
        path = f"{checkpoint.folder}/{file.path}" if checkpoint.folder else file.path
        if (folder / path).exists():
            if what_differs(folder / path, file) is None:
                return
            (folder / path).unlink()
        self._download(checkpoint, path, folder)
        differs = what_differs(folder / path, file)
        if differs is not None:
            (folder / path).unlink()  # so that the next try begins anew
            where = f"{path} of {self.name}@{checkpoint.name}"
            raise HubError(f"{where} was downloaded, but it {differs}", transient=True)

    def _download(self, checkpoint: Checkpoint, path: str, folder: Path) -> None:
        from huggingface_hub import hf_hub_download

        try:
            hf_hub_download(
                self.name,
                path,
                revision=checkpoint.commit,
                local_dir=folder,
                endpoint=self._client.endpoint,
                token=self._client.token,
            )
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None and not is_transient(error):
                raise  # of this machine, such as a full disk
            raise explained(
                error,
                self.name,
                self._client.endpoint,
                revision=checkpoint.name,
                has_token=self._client.has_token,
            ) from error


def parse_repository(text: str) -> tuple[str, str | None, int | None]:
    """Take a repository, a pattern of its revisions, and the step of one, from one word.

    Args:
        text: ``owner/name``, ``owner/name@pattern`` or ``owner/name@revision=step``.

    Raises:
        ValueError: It has another form.

    Example:
        >>> parse_repository("owner/name"), parse_repository("owner/name@main=2000")
        (('owner/name', None, None), ('owner/name', 'main', 2000))
    """
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([^=@\s]+)(?:=(\d+))?)?", text)
    if found is None:
        raise ValueError(
            f"a repository must be owner/name, owner/name@pattern or owner/name@revision=step, got {text!r}"
        )
    return found[1], found[2], None if found[3] is None else int(found[3])


def _file(entry: dict[str, Any]) -> File:
    """Read an entry of a list of files; a large file has a sha256, a small one the id of its blob."""
    large = entry.get("lfs")
    digest = large["oid"] if large else f"{BLOB}{entry['oid']}"
    return File(entry["path"], int(large["size"] if large else entry["size"]), digest)
