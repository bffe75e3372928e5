"""Downloads, end to end against a local server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from gpt1.checkpoint import load_model, save_model
from gpt1.config import GPTConfig
from gpt1.errors import CheckpointError
from gpt1.hub import download
from gpt1.locate import locate
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

REPO = "someone/gpt-one"
COMMITS = {"main": "a" * 40, "v1": "b" * 40}
OTHER_FORMATS = ("pytorch_model.bin", "tf_model.h5", "rust_model.ot", "flax_model.msgpack")
LARGE = "model.safetensors"


@dataclass
class StandIn:
    """The hub: files by commit, a log of requests, and faults to show.

    Attributes:
        files: Commit to file name to content.
        log: "METHOD path" of each request.
        refusal: Status and the hub's error code for all requests; None answers them.
        refuse_files: Whether the refusal is for files only, as of a gated repository.
        cut: Bytes missing at the end of large files.
        url: Of the hub.
        cdn_url: Of large files; another host, as the client follows redirects on its own.
    """

    files: dict[str, dict[str, bytes]]
    log: list[str] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    refuse_files: bool = False
    cut: int = 0
    url: str = ""
    cdn_url: str = ""

    def downloads(self) -> list[str]:
        """Names of the files that were sent."""
        return sorted(
            {
                line.rpartition("/")[2]
                for line in self.log
                if line.startswith("GET") and "/api/" not in line
            }
        )


class Handler(BaseHTTPRequestHandler):
    """Answers as huggingface.co does: small files directly, large ones from another address."""

    hub: StandIn
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.respond()

    def do_GET(self) -> None:
        self.respond()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def respond(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append(f"{self.command} {path}")
        is_file = not path.startswith("/api/")
        if self.hub.refusal and (is_file or not self.hub.refuse_files):
            self.refuse(*self.hub.refusal)
        elif path.startswith("/cdn/"):
            self.send_large(*path.split("/")[2:])
        elif path.startswith("/api/models/"):
            self.answer_api(path.removeprefix("/api/models/"))
        else:
            self.send_file(path.removeprefix("/"))

    def answer_api(self, path: str) -> None:
        repo, _, rest = path.partition(f"{REPO}/") if path != REPO else (REPO, "", "revision/main")
        action, _, revision = rest.partition("/")
        commit = COMMITS.get(revision, revision)
        if not rest or repo not in ("", REPO):
            self.refuse(404, "RepoNotFound")
        elif commit not in self.hub.files:
            self.refuse(404, "RevisionNotFound")
        elif action == "tree":
            self.send_json([self.entry(*item) for item in self.hub.files[commit].items()])
        else:
            names = [{"rfilename": name} for name in self.hub.files[commit]]
            about = {"private": False, "gated": False, "disabled": False, "tags": []}
            self.send_json({"_id": "1", "id": REPO, "sha": commit, "siblings": names, **about})

    def entry(self, name: str, content: bytes) -> dict[str, object]:
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content)}
        entry["oid"] = hashlib.sha1(content).hexdigest()
        if name == LARGE:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
            entry["xetHash"] = digest
        return entry

    def send_file(self, path: str) -> None:
        repo, _, rest = path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        commit = COMMITS.get(revision, revision)
        content = self.hub.files.get(commit, {}).get(name)
        if repo != REPO or content is None:
            self.refuse(404, "EntryNotFound")
            return
        headers = {"X-Repo-Commit": commit}
        if name != LARGE:
            headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
            self.send(200, content, headers)
            return
        digest = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        headers |= {"X-Xet-Hash": digest, "Location": f"{self.hub.cdn_url}/{commit}/{name}"}
        headers["Link"] = f'<{self.hub.url}/xet-token>; rel="xet-auth"'
        self.send(302, b"", headers)

    def send_large(self, commit: str, name: str) -> None:
        content = self.hub.files[commit][name]
        self.send(200, content[: len(content) - self.hub.cut], {})

    def send_json(self, content: object) -> None:
        self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str) -> None:
        self.send(status, b"", {"X-Error-Code": code, "X-Error-Message": f"refused: {code}"})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def files_of_a_model(folder: Path, seed: int) -> dict[str, bytes]:
    torch.manual_seed(seed)
    tokenizer = Tokenizer.train(["the cat sat on the mat"], merges=4)
    model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=8, n_positions=4, vocab_size=40))
    save_model(folder, model, tokenizer, files={"README.md": "not needed\n"})
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | dict.fromkeys(OTHER_FORMATS, b"never read")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    return {
        commit: files_of_a_model(tmp_path_factory.mktemp("repository") / name, seed)
        for seed, (name, commit) in enumerate(COMMITS.items())
    }


@pytest.fixture
def hub(repository: dict[str, dict[str, bytes]]) -> Iterator[StandIn]:
    stand_in = StandIn(repository)
    handler = type("BoundHandler", (Handler,), {"hub": stand_in})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        stand_in.cdn_url = f"http://localhost:{server.server_port}/cdn"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield stand_in
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _settings(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What HF_ENDPOINT, HF_HOME and HF_HUB_DISABLE_XET set, which are read once at import."""
    set_endpoint(monkeypatch, hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    disable_progress_bars()
    yield
    enable_progress_bars()


def set_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens on port 9."""
    set_endpoint(monkeypatch, "http://127.0.0.1:9")


def test_a_hub_id_loads_and_files_of_other_formats_are_not_fetched(
    hub: StandIn, repository: dict[str, dict[str, bytes]]
) -> None:
    folder = locate(REPO)
    assert load_model(folder).config.n_embd == 8
    assert Tokenizer.load(folder).encode("the cat")
    fetched = {path.name: path.read_bytes() for path in folder.iterdir()}
    expected = repository[COMMITS["main"]]
    unwanted = {"README.md", *OTHER_FORMATS}
    assert fetched == {name: data for name, data in expected.items() if name not in unwanted}
    assert hub.downloads() == sorted(fetched)


def test_a_second_load_fetches_no_file(hub: StandIn) -> None:
    first = download(REPO)
    hub.log.clear()
    assert download(REPO) == first
    assert hub.downloads() == []


def test_a_revision_is_a_branch_a_tag_or_a_commit(
    hub: StandIn, repository: dict[str, dict[str, bytes]]
) -> None:
    weights = repository[COMMITS["v1"]][LARGE]
    assert (download(REPO, revision="v1") / LARGE).read_bytes() == weights
    assert (download(REPO, revision=COMMITS["v1"]) / LARGE).read_bytes() == weights
    assert (download(REPO) / LARGE).read_bytes() != weights


def test_without_a_connection_the_cached_copy_is_used_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = download(REPO)
    unreachable(monkeypatch)
    with caplog.at_level(logging.WARNING, logger="gpt1"):
        assert download(REPO) == folder
    [message] = [record.getMessage() for record in caplog.records if record.name == "gpt1.hub"]
    assert message.startswith(f"using the cached copy of {REPO}: ConnectError: ")


def test_a_server_that_fails_is_no_hindrance_to_a_cached_copy(hub: StandIn) -> None:
    folder = download(REPO)
    hub.refusal = (503, "")
    assert download(REPO) == folder


def test_offline_mode_asks_nothing_and_uses_the_cached_copy(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = download(REPO)
    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download(REPO) == folder
    assert hub.log == []


def test_offline_without_a_copy_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable(monkeypatch)
    message = f"{REPO} is not in the cache {tmp_path / 'hub'} and the hub cannot be reached .*once"
    with pytest.raises(CheckpointError, match=message):
        download(REPO)


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(CheckpointError, match="no folder 'no/such' here and no such model on the"):
        locate("no/such")


def test_an_unknown_revision_is_not_found() -> None:
    with pytest.raises(CheckpointError, match=f"{REPO} has no revision 'v9'; name one of its br"):
        download(REPO, revision="v9")


@pytest.mark.parametrize("status", [401, 404])
def test_a_private_model_asks_to_log_in(hub: StandIn, status: int) -> None:
    hub.refusal = (status, "RepoNotFound")
    with pytest.raises(CheckpointError, match="check the spelling, or log in with `hf auth login`"):
        download(REPO)


def test_a_gated_model_asks_to_accept_its_terms(hub: StandIn) -> None:
    hub.refusal, hub.refuse_files = (403, "GatedRepo"), True
    with pytest.raises(CheckpointError, match="is restricted: accept its terms on the hub, then"):
        download(REPO)


def test_an_impossible_id_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'a--b/c' is not a hub id: HFValidationError"):
        download("a--b/c")


def test_a_file_cut_short_is_not_kept_and_fetched_again(
    hub: StandIn, tmp_path: Path, repository: dict[str, dict[str, bytes]]
) -> None:
    hub.cut = 100
    with pytest.raises(CheckpointError, match=f"downloading {REPO} .* failed: .*try again"):
        download(REPO)
    assert list(tmp_path.rglob(LARGE)) == []
    hub.cut = 0
    assert (download(REPO) / LARGE).read_bytes() == repository[COMMITS["main"]][LARGE]


def test_an_interrupted_download_is_not_taken_for_a_complete_copy(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cut = 100
    with pytest.raises(CheckpointError):
        download(REPO)
    unreachable(monkeypatch)
    with pytest.raises(CheckpointError, match="is not in the cache"):
        download(REPO)


def test_the_environment_chooses_endpoint_and_cache(hub: StandIn, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    program = f"from gpt1.hub import download; print(download({REPO!r}))"
    command = [sys.executable, "-c", program]
    output = subprocess.check_output(command, env=environment, text=True, stderr=subprocess.DEVNULL)
    assert Path(output.strip()).is_relative_to(tmp_path / "home")
    assert LARGE in hub.downloads()
