"""Reading the Kubernetes API: as whom, what is there, what is not, and what cannot be told."""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from unit.server.certificates import Authority
from userswarm.server.cluster import NO_API, Access, Api, find_access, find_api
from userswarm.server.gathering import ObjectNeed, Unavailable


class Server(http.server.ThreadingHTTPServer):
    """An API server that answers by path, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.connections = 0
        self.hang_up = False
        super().__init__(("127.0.0.1", 0), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def api(self, path: str = "") -> Api:
        return Api(Access(self.url + path, lambda: "a-token", ssl.create_default_context))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        missing = {"reason": "NotFound", "message": "not found", "details": {"name": "x"}}
        status, answer = self.server.answers.get(self.path, (404, missing))
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.hang_up

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    made = server.api()
    yield made
    for connection in made._idle:
        connection.close()


def pod(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "managedFields": [{"manager": "x"}]}, "spec": {"a": 1}}


PODS: ObjectNeed = {"apiVersion": "v1", "kind": "Pod", "resource": "pods", "namespace": "ns", "names": ["p-0"]}
LABELLED: ObjectNeed = {
    "apiVersion": "v1",
    "kind": "Pod",
    "resource": "pods",
    "namespace": "ns",
    "labelSelector": {"matchLabels": {"crawbl.ai/swarm": "x", "b": ""}},
}
POD_PATH = "/api/v1/namespaces/ns/pods/p-0"


@pytest.mark.parametrize(
    ("need", "path"),
    [
        (PODS, POD_PATH),
        (
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "resource": "statefulsets",
                "namespace": "n",
                "names": ["s"],
            },
            "/apis/apps/v1/namespaces/n/statefulsets/s",
        ),
        ({"apiVersion": "v1", "kind": "Namespace", "resource": "namespaces", "names": ["n"]}, "/api/v1/namespaces/n"),
        ({**PODS, "names": ["../../secrets/s?x#y"]}, "/api/v1/namespaces/ns/pods/..%2F..%2Fsecrets%2Fs%3Fx%23y"),
    ],
)
def test_an_object_is_read_by_its_name_and_nothing_else(server: Server, api: Api, need: ObjectNeed, path: str) -> None:
    server.answers[path] = 200, pod("p")
    (found,) = api.read(need)
    assert server.asked == [(path, "Bearer a-token")]
    assert (found["apiVersion"], found["kind"], found["spec"]) == (need["apiVersion"], need["kind"], {"a": 1})
    assert "managedFields" not in found["metadata"]


def test_what_is_not_there_is_left_out(server: Server, api: Api) -> None:
    server.answers[POD_PATH] = 200, pod("p-0")
    found = api.read({**PODS, "names": ["p-1", "p-0", "p-2"]})
    assert [each["metadata"]["name"] for each in found] == ["p-0"]


def test_objects_are_listed_by_label_and_are_whole(server: Server, api: Api) -> None:
    listed = {"metadata": {"resourceVersion": "1"}, "items": [pod("a"), pod("b")]}
    server.answers = dict.fromkeys(
        ["/api/v1/namespaces/ns/pods?labelSelector=crawbl.ai%2Fswarm%3Dx%2Cb%3D&limit=100"], (200, listed)
    )
    found = api.read(LABELLED)
    assert [(each["kind"], each["apiVersion"], each["metadata"]["name"]) for each in found] == [
        ("Pod", "v1", "a"),
        ("Pod", "v1", "b"),
    ]
    query = dict(parse_qsl(urlsplit(server.asked[0][0]).query))
    assert query == {"labelSelector": "crawbl.ai/swarm=x,b=", "limit": "100"}


def test_half_a_list_is_none(server: Server, api: Api) -> None:
    path = "/api/v1/namespaces/ns/pods?labelSelector=crawbl.ai%2Fswarm%3Dx%2Cb%3D&limit=100"
    server.answers[path] = 200, {"metadata": {"continue": "more"}, "items": [pod("a")]}
    with pytest.raises(Unavailable, match="more than 100 objects"):
        api.read(LABELLED)


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (403, {"message": "pods is forbidden", "reason": "Forbidden"}, "403: pods is forbidden"),
        (401, {"message": "Unauthorized"}, "401"),
        (500, b"oops", "500: no reason given"),
        (429, {"message": "slow down"}, "429: slow down"),
        (301, b"", "301"),
        (200, b"<html>", "200"),
        (200, [], "200"),
        (404, b"404 page not found", "404: no reason given"),
        (404, {"reason": "NotFound", "message": "the server could not find the requested resource"}, "404: the server"),
        (200, b'"' + b"x" * (5 * 2**20) + b'"', "more than 4194304 bytes"),
    ],
)
def test_what_cannot_be_told_is_not_taken_for_absent(
    server: Server, api: Api, status: int, answer: Any, said: str
) -> None:
    server.answers[POD_PATH] = status, answer
    with pytest.raises(Unavailable, match=said):
        api.read(PODS)
    server.answers[POD_PATH] = 200, pod("p-0")
    assert api.read(PODS), "the connection is not what it was"


def test_a_connection_is_used_again_and_one_that_was_closed_is_made_anew(server: Server, api: Api) -> None:
    server.answers[POD_PATH] = 200, pod("p-0")
    api.read(PODS)
    api.read(PODS)
    assert server.connections == 1
    server.hang_up = True
    api.read(PODS)
    server.hang_up = False
    assert api.read(PODS)
    assert server.connections == 2


def test_a_server_that_is_gone_is_no_endless_loop(server: Server, api: Api) -> None:
    server.answers[POD_PATH] = 200, pod("p-0")
    server.hang_up = True
    api.read(PODS)
    server.shutdown()
    server.server_close()
    with pytest.raises((OSError, http.client.HTTPException)):
        api.read(PODS)


def test_a_path_before_the_api_is_kept(server: Server) -> None:
    server.answers["/k8s/clusters/c" + POD_PATH] = 200, pod("p-0")
    server.hang_up = True
    api = server.api("/k8s/clusters/c/")
    assert api.read(PODS)
    api._idle.pop().close()


def test_in_a_cluster_it_is_the_service_account_whose_token_is_read_again(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    pair = authority.issue("apiserver")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    (tmp_path / "ca.crt").write_bytes(authority.pair.certificate.read_bytes())
    (tmp_path / "token").write_text("first\n", encoding="ascii")
    with serving(tls) as server:
        environ = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(server.server_address[1])}
        api = Api(find_access(environ, tmp_path))
        server.answers[POD_PATH] = 200, pod("p-0")
        api.read(PODS)
        (tmp_path / "token").write_text("second\n", encoding="ascii")
        api.read(PODS)
        assert [token for _, token in server.asked] == ["Bearer first", "Bearer second"]

        (tmp_path / "ca.crt").write_bytes(Authority.make(tmp_path / "other").pair.certificate.read_bytes())
        api._idle.pop().close()
        with pytest.raises(ssl.SSLError):
            api.read(PODS)


def kubeconfig(directory: Path, cluster: dict[str, Any], user: dict[str, Any]) -> dict[str, str]:
    config = {
        "current-context": "here",
        "contexts": [{"name": "other", "context": {}}, {"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    (directory / "config").write_text(yaml.safe_dump(config), encoding="utf-8")
    return {"KUBECONFIG": str(directory / "config"), "KUBERNETES_SERVICE_HOST": "in-a-cluster-too"}


def test_elsewhere_it_is_the_kubeconfig_by_token_or_by_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("from-a-file\n", encoding="ascii")
    for user, token in (({"token": "inline"}, "inline"), ({"tokenFile": "t"}, "from-a-file")):
        access = find_access(kubeconfig(tmp_path, {"server": "https://k:6443"}, user))
        assert (access.server, access.token()) == ("https://k:6443", token)


@pytest.mark.parametrize("inline", [True, False])
def test_elsewhere_it_is_the_kubeconfig_by_certificate(tmp_path: Path, inline: bool) -> None:
    authority = Authority.make(tmp_path / "ca")
    serves, client = authority.issue("apiserver"), authority.issue("admin")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(serves.certificate, serves.key)
    tls.load_verify_locations(authority.pair.certificate)
    tls.verify_mode = ssl.CERT_REQUIRED

    def held(field: str, file: Path) -> dict[str, str]:
        encoded = base64.b64encode(file.read_bytes()).decode()
        return {f"{field}-data": encoded} if inline else {field: str(file.relative_to(tmp_path))}

    with serving(tls) as server:
        cluster = {
            "server": f"https://localhost:{server.server_address[1]}",
            **held("certificate-authority", authority.pair.certificate),
        }
        user = {**held("client-certificate", client.certificate), **held("client-key", client.key)}
        api = Api(find_access(kubeconfig(tmp_path, cluster, user)))
        server.answers[POD_PATH] = 200, pod("p-0")
        assert api.read(PODS)
        assert server.asked == [(POD_PATH, None)]
        api._idle.pop().close()


def test_without_either_there_is_no_api_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find_api({}) is NO_API
    assert "no access to the Kubernetes API is configured" in caplog.text
    with pytest.raises(Unavailable, match="no access"):
        find_access({"KUBERNETES_SERVICE_HOST": "h"}, tmp_path)


@pytest.mark.parametrize("text", [None, "", "[]", "a: b: c", "current-context: x\ncontexts: []\n"])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    why = find_api({"KUBECONFIG": str(file)})
    assert isinstance(why, Unavailable)
    assert str(file) in str(why)


def test_a_user_that_logs_in_by_a_program_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="neither a token nor a client certificate"):
        find_access(kubeconfig(tmp_path, {"server": "https://k"}, {"exec": {"command": "login"}}))
