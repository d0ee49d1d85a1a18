"""A small double of the Hugging Face Hub over real HTTP, for the real client.

    with HubDouble() as hub:
        environment = hub.environment("write")   # HF_ENDPOINT, HF_TOKEN, ...: set before huggingface_hub is imported
        hub.add_repo("meta/gated", {"config.json": b"{}"}, gated=True)
        ...                                      # run the real client in a subprocess
        assert hub.repos["alice/mine"].files["README.md"]

Users alice (tokens "write", "read") and bob ("other"). `hub.drop["/commit/"] = 1` breaks the connection of the next
request whose "METHOD path" holds that text. `hub.requests` lists every "METHOD path" that came in.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.forked import forked

TOKENS = {"write": ("alice", "write"), "read": ("alice", "read"), "other": ("bob", "write")}
LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".zip")


@dataclass
class Repo:
    """One repository: its newest files, the ids of its commits, who may see it."""

    private: bool = False
    gated: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["0" * 40])
    messages: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return self.commits[-1]


class HubDouble:
    """The server; a context manager. `url`, `tokens` (kind -> token), `repos` (name -> Repo), `requests`, `drop`."""

    def __init__(self):
        self.tokens = {kind: f"double-{kind}-token" for kind in (*TOKENS, "expired")}
        self.empty()

    def empty(self) -> None:
        """As it was at first, at the same address."""
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}  # sha256 -> content
        self.requests: list[str] = []
        self.drop: dict[str, int] = {}

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def add_repo(self, name: str, files: dict[str, bytes], private: bool = False, gated: bool = False) -> Repo:
        self.repos[name] = Repo(private, gated, dict(files), [hashlib.sha1(name.encode()).hexdigest()])
        return self.repos[name]

    def environment(self, kind: str | None = None) -> dict[str, str]:
        """Variables that point the real client here, with the token of that kind or none."""
        chosen = {
            "HF_ENDPOINT": self.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return {**chosen, "HF_TOKEN": self.tokens[kind]} if kind else chosen


@contextlib.contextmanager
def hub_with_client(home: Path, *modules: str):
    """A double, and in `run` what starts processes that have imported `modules` and the real client, logged in by
    HF_TOKEN or what lies in `home`."""
    with HubDouble() as double, forked(*modules, **double.environment(), HF_HOME=str(home)) as double.run:
        yield double


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubDouble

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer()

    do_POST = do_PUT = do_HEAD = do_GET

    def _answer(self):
        self.path_only = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {self.path_only}")
        for text, count in self.hub.drop.items():
            if count and text in f"{self.command} {self.path_only}":
                self.hub.drop[text] -= 1
                self.rfile.read(min(1024, int(self.headers.get("Content-Length", 0))))
                self.close_connection = True
                self.connection.close()  # in the middle of the request, without an answer
                return
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, self.path_only)
            if match and self.command in method:
                return answer(self, **match.groupdict())
        self._error(404, "no such address")

    # --- who is asking
    def _user(self) -> tuple[str, str] | None:
        """(name, role) of the token; None without one. An unknown token ends the request."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        kinds = {value: kind for kind, value in self.hub.tokens.items()}
        return TOKENS.get(kinds.get(token, ""))

    def _repo(self, repo: str) -> Repo | None:
        """The repository if the asker may see it; else the error is sent, and None given."""
        found, user = self.hub.repos.get(repo), self._user()
        if self.headers.get("Authorization") and user is None:
            return self._error(401, "Invalid credentials in Authorization header")
        if found is None or found.private and (user is None or user[0] != repo.split("/")[0]):
            return self._error(404 if user else 401, "Repository not found", "RepoNotFound")
        return found

    def _writable(self, repo: str) -> Repo | None:
        user = self._user()
        if user is None:
            return self._error(401, "Invalid credentials in Authorization header")
        if user[1] != "write" or user[0] != repo.split("/")[0]:
            return self._error(403, f"You don't have the rights to write to {repo}")
        return self._repo(repo)

    # --- answers
    def _send(self, value=None, status=200, headers=None, content=None):
        content = json.dumps(value).encode() if content is None else content
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": len(content),
            **(headers or {}),
        }.items():
            self.send_header(name, str(text))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _error(self, status, message, code=None):
        self._send({"error": message}, status, {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})})

    # --- account
    def whoami(self):
        user = self._user()
        if user is None:
            return self._error(401, "Invalid credentials in Authorization header")
        token = {"displayName": user[1], "role": user[1]}
        self._send(
            {"type": "user", "name": user[0], "orgs": [], "auth": {"type": "access_token", "accessToken": token}}
        )

    def device_code(self):
        code = {"device_code": "device", "user_code": "ABCD-1234", "expires_in": 60, "interval": 1}
        self._send({**code, "verification_uri": f"{self.hub.url}/oauth/device/confirm"})

    def device_token(self):
        """Grants the write token at once, as if the person had already agreed in the browser."""
        good = parse_qs(self.body.decode()).get("device_code") == ["device"]
        self._send(
            {"access_token": self.hub.tokens["write"], "token_type": "bearer", "scope": "write"} if good else {},
            200 if good else 400,
        )

    # --- repositories
    def create(self):
        asked, user = json.loads(self.body), self._user()
        if user is None:
            return self._error(401, "Invalid credentials in Authorization header")
        name = f"{asked.get('organization') or user[0]}/{asked['name']}"
        if user[1] != "write" or not name.startswith(f"{user[0]}/"):
            return self._error(403, f"You don't have the rights to create a model under {name.split('/')[0]}")
        if name in self.hub.repos:
            return self._send({"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"}, 409)
        self.hub.repos[name] = Repo(private=asked.get("visibility") == "private")
        self._send({"url": f"{self.hub.url}/{name}", "name": name})

    def info(self, repo, revision="main"):
        if found := self._repo(repo):
            files = [{"rfilename": name, "size": len(content)} for name, content in found.files.items()]
            told = {
                "id": repo,
                "modelId": repo,
                "sha": found.sha,
                "private": found.private,
                "siblings": files,
                "tags": [],
            }
            head = found.files.get("README.md", b"").decode().split("---\n")
            card = {"cardData": yaml.safe_load(head[1])} if len(head) > 2 else {}
            self._send({**told, **card, "gated": "manual" if found.gated else False})

    def auth_check(self, repo):
        found = self._repo(repo)
        if found and found.gated:
            return self._error(403, f"Access to model {repo} is restricted", "GatedRepo")
        if found:
            self._send({})

    def tree(self, repo, revision, folder=None):
        if found := self._repo(repo):
            self._send([_entry(name, content) for name, content in found.files.items()])

    def resolve(self, repo, revision, name):
        found = self._repo(repo)
        if found is None:
            return
        if found.gated:
            return self._error(403, f"Access to model {repo} is restricted", "GatedRepo")
        if name not in found.files:
            return self._error(404, "Entry not found", "EntryNotFound")
        content, entry = found.files[name], _entry(name, found.files[name])
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        headers = {
            "X-Repo-Commit": found.sha,
            "ETag": f'"{etag}"',
            "X-Linked-Etag": f'"{etag}"',
            "X-Linked-Size": len(content),
        }
        self._send(content=content, headers=headers)

    # --- upload
    def validate_yaml(self):
        self._send({"errors": [], "warnings": []})

    def preupload(self, repo, revision):
        if found := self._writable(repo):
            told = []
            for file in json.loads(self.body)["files"]:
                mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular"
                there = found.files.get(file["path"])
                oid = None if there is None else _hash(there, mode == "lfs")
                told.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
            self._send({"files": told})

    def lfs_batch(self, repo):
        if self._writable(repo):
            objects = []
            for item in json.loads(self.body)["objects"]:
                if item["oid"] not in self.hub.lfs:  # what has arrived is not asked for again
                    item["actions"] = {
                        "upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"},
                        "verify": {"href": f"{self.hub.url}/lfs/verify"},
                    }
                objects.append(item)
            self._send({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._error(400, "content and oid differ")
        self.hub.lfs[oid] = self.body
        self._send({})

    def lfs_verify(self):
        self._send({}, 200 if json.loads(self.body)["oid"] in self.hub.lfs else 404)

    def commit(self, repo, revision):
        if (found := self._writable(repo)) is None:
            return
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                found.messages.append(value["summary"])
            elif line["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                found.files[value["path"]] = self.hub.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                found.files.pop(value["path"])
        found.commits.append(hashlib.sha1(f"{found.sha}{sorted(found.files)}".encode()).hexdigest())
        self._send({"commitUrl": f"{self.hub.url}/{repo}/commit/{found.sha}", "commitOid": found.sha, "success": True})


def _hash(content: bytes, lfs: bool) -> str:
    return (
        hashlib.sha256(content).hexdigest() if lfs else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    )


def _entry(name: str, content: bytes) -> dict:
    """A file as the tree shows it."""
    entry = {"type": "file", "path": name, "size": len(content), "oid": _hash(content, False)}
    if name.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": _hash(content, True), "size": len(content), "pointerSize": 134}
    return entry


REPO = r"(?P<repo>[^/]+/[^/]+)"
ROUTES = [
    (("GET",), "/api/whoami-v2", _Handler.whoami),
    (("POST",), "/oauth/device", _Handler.device_code),
    (("POST",), "/oauth/token", _Handler.device_token),
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate_yaml),
    (("POST",), f"/api/models/{REPO}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    (("POST",), f"/api/models/{REPO}/commit/(?P<revision>[^/]+)", _Handler.commit),
    (("POST",), rf"/{REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", _Handler.lfs_put),
    (("POST",), "/lfs/verify", _Handler.lfs_verify),
    (("GET",), f"/api/(models|datasets)/{REPO}/auth-check", _Handler.auth_check),
    (("GET",), f"/api/(models|datasets)/{REPO}/tree/(?P<revision>[^/]+)(/(?P<folder>.*))?", _Handler.tree),
    (("GET",), f"/api/(models|datasets)/{REPO}(/revision/(?P<revision>[^/]+))?", _Handler.info),
    (("GET", "HEAD"), f"(/datasets)?/{REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", _Handler.resolve),
]  # fmt: skip
