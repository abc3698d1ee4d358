"""The hub that tests ask, seen by huggingface_hub's own client."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub_server import INDEX, Hub, Pointer, made_up


def test_the_client_reads_refs_lists_and_information() -> None:
    with Hub(page=2) as hub:
        hub.add("owner/name", {"main": made_up(1, shards=2), "v1": made_up(2)}, tags=["v1"])
        api = HfApi(endpoint=hub.url)
        refs = api.list_repo_refs("owner/name")
        assert ([each.name for each in refs.branches], [each.name for each in refs.tags]) == (["main"], ["v1"])
        assert refs.branches[0].target_commit == hub.commit("owner/name", "main")
        files: dict[str, Any] = {entry.path: entry for entry in api.list_repo_tree("owner/name", recursive=True)}
        assert {*files} == {*made_up(1, shards=2)}
        assert (files[INDEX].lfs, files["model-00001-of-00002.safetensors"].lfs.size) == (None, 64)
        assert hub.count("/tree/") == 3
        information = api.model_info("owner/name", revision="v1")
        assert (information.sha, information.gated) == (hub.commit("owner/name", "v1"), False)
        paths: Any
        (paths,) = api.get_paths_info("owner/name", ["config.json", "none"])
        assert paths.size == 26
        api.auth_check("owner/name")


def test_the_client_downloads_by_redirect_to_another_host(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.add("owner/name", {"main": made_up(1)}, gated="hf_x")
        path = hf_hub_download("owner/name", "model.safetensors", local_dir=tmp_path, token="hf_x")
        assert Path(path).read_bytes() == made_up(1)["model.safetensors"]
        assert [each.token for each in hub.asked if each.path.startswith("/cdn/")] == [None]  # no token leaves the hub
        snapshot_download("owner/name", local_dir=tmp_path / "all", token="hf_x")
        assert (tmp_path / "all" / "config.json").exists()
        assert hub.strays == []


def test_a_part_of_a_file_is_sent_where_a_part_is_asked_for() -> None:
    with Hub() as hub:
        hub.add("owner/name", {"main": made_up(1, size=1000)})
        from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # it has no __all__

        url = f"{hub.url}/owner/name/resolve/main/model.safetensors"
        whole = made_up(1, size=1000)["model.safetensors"]
        assert isinstance(whole, bytes)
        answer = get_session().get(url, headers={"Range": "bytes=990-"})
        assert (answer.status_code, answer.content) == (206, whole[990:])
        assert answer.headers["Content-Range"] == "bytes 990-999/1000"


def test_the_client_tells_refusals_apart() -> None:
    with Hub() as hub:
        hub.add("owner/name", {"main": made_up(1)}, gated="hf_x")
        api = HfApi(endpoint=hub.url)
        with pytest.raises(GatedRepoError, match="401"):
            api.auth_check("owner/name")
        with pytest.raises(GatedRepoError, match="403"):
            api.auth_check("owner/name", token="hf_y")
        with pytest.raises(RepositoryNotFoundError, match="404"):
            api.list_repo_refs("owner/none", token="hf_y")
        with pytest.raises(RevisionNotFoundError, match="404"):
            [*api.list_repo_tree("owner/name", revision="none")]
        with pytest.raises(RemoteEntryNotFoundError, match="404"):
            hf_hub_download("owner/name", "none.json", token="hf_x")


def test_no_other_host_is_asked_inside() -> None:
    with Hub() as hub:
        with pytest.raises(OSError, match=r"a test must not ask hub\.example"):
            socket.create_connection(("hub.example", 443))
        assert hub.strays == ["hub.example"]


def test_a_file_may_be_known_by_its_hash_and_size_alone() -> None:
    with Hub() as hub:
        hub.add("owner/name", {"main": {"model.safetensors": Pointer("ab" * 32, 29_200_000_000)}})
        entry: Any
        (entry,) = HfApi(endpoint=hub.url).list_repo_tree("owner/name")
        assert (entry.size, entry.lfs.sha256) == (29_200_000_000, "ab" * 32)
