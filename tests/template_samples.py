"""Templates for tests: as small as can be, and one that says everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml

import scenes
from userswarm.spec.manifests import manifest_path
from userswarm.spec.settings import Settings
from userswarm.spec.template.loading import load_templates, read_templates
from userswarm.spec.template.revisions import Templates

EVERYTHING = """
name: everything
revision: 1
description: Everything that a template may say.
security: {runAsUser: 1000, runAsGroup: 1000}
terminationGracePeriodSeconds: 60
containers:
  - name: runtime
    image: agent:$(param.version)
    command: [agent]
    args: ["--model=$(param.model)", --name, $(AGENT_NAME)]
    ports: [{name: http, port: 8080}, {name: mcp, port: 81}]
    env:
      - {name: AGENT_NAME, fieldRef: name}
      - {name: AGENT_USER, fieldRef: user}
      - {name: GREETING, value: "hello $(AGENT_USER) of $(AGENT_NAME)"}
      - {name: MODEL, parameter: model}
      - {name: TOKEN, secret: {pattern: "swarm-{name}-env", key: token, optional: true}}
    envFrom: [{secretPattern: "keys-{user}", optional: true}]
    resources: {requests: {cpu: 0.25, memory: 128Mi}, limits: {cpu: 0.5, memory: 256Mi}}
    readiness: {exec: [test, -d, /workspace/.git], periodSeconds: 5}
    startup: {http: {path: /health, port: http}, periodSeconds: 5, failureThreshold: 60}
    liveness: {tcp: {port: http}, periodSeconds: 20}
    mounts:
      - {volume: workspace, path: /workspace}
      - {volume: home, path: /home/agent}
      - {volume: tmp, path: /tmp}
      - {volume: ssh, path: /home/agent/.ssh}
      - {volume: prompts, path: /etc/prompts, readOnly: true}
  - name: proxy
    image: proxy:1
    sidecar: native
    ports: [{name: proxy, port: 3128}]
    resources: {limits: {cpu: 100m, memory: 64Mi}}
    startup: {tcp: {port: proxy}, periodSeconds: 1}
  - name: search
    image: search:1
    sidecar: plain
    ports: [{name: search, port: 8090}]
    resources: {limits: {cpu: 100m, memory: 64Mi}}
init:
  - git: {repository: $(param.repository), branch: main, depth: 1, path: /workspace, pull: true,
          tokenSecret: {pattern: "swarm-{name}-git", key: token}, caSecret: {pattern: company-ca, key: ca.crt}}
  - ssh: {secret: {pattern: "swarm-{name}-ssh", key: id}, path: /home/agent/.ssh,
          knownHosts: {configMap: known-hosts, key: known_hosts}}
  - container: {name: warm, image: "warm:1", command: [warm], mounts: [{volume: workspace, path: /workspace}],
                resources: {limits: {cpu: 100m, memory: 64Mi}}}
volumes:
  - {name: workspace, claim: {size: $(param.size), retainPolicy: Retain}}
  - {name: home, claim: {size: 1Gi, storageClassName: standard}}
  - {name: tmp, emptyDir: {sizeLimit: 10Gi}}
  - {name: ssh, emptyDir: {sizeLimit: 10Mi, medium: Memory}}
  - {name: prompts, configMap: {pattern: prompts, optional: true}}
features:
  golang:
    description: The Go toolchain.
    volumes: [{name: gocache, claim: {size: 5Gi}}]
    env: {runtime: [{name: GOPATH, value: /go}]}
    mounts: {runtime: [{volume: gocache, path: /go}]}
  browser:
    default: true
    containers:
      - name: browser
        image: browser:1
        sidecar: plain
        ports: [{name: browser, port: 8931}]
        security: {readOnlyRootFilesystem: false}
        resources: {limits: {cpu: 100m, memory: 64Mi}}
        mounts: [{volume: tmp, path: /tmp}]
parameters:
  version: {type: string, enum: [v1, v2], default: v1}
  model: {type: string, maxLength: 4096, default: small}
  repository: {type: string, pattern: "(https|ssh)://[-A-Za-z0-9@:./_]+", default: "https://git.example/one.git"}
  size: {type: quantity, minimum: 1Gi, maximum: 100Gi, default: 10Gi}
defaults:
  verification: {path: /healthz, maxAttempts: 3}
  lifecycle: {idleAfter: 30m}
  runtimeClassName: gvisor
"""

SMALL = """
name: small
revision: 1
containers:
  - name: runtime
    image: agent:1
    ports: [{name: http, port: 8080}]
"""


def read(*texts: str) -> Templates:
    """Return the templates in some texts; all have to be right."""
    found = {}
    for text in texts:
        revisions, problems = read_templates(text, "test")
        assert problems == []
        found.update({(each.name, each.number): each for each in revisions})
    return Templates("test", found)


def changed(text: str, **fields: Any) -> str:
    """Return a template with other fields at its top; None takes one out."""
    document = {**yaml.safe_load(text), **fields}
    return yaml.safe_dump({key: value for key, value in document.items() if value is not None}, sort_keys=False)


def problems(text: str) -> list[str]:
    """Return all that is wrong with a text."""
    return read_templates(text, "test")[1]


TEMPLATES = read(EVERYTHING, SMALL)
SHIPPED = load_templates(str(manifest_path("samples/templates")))
OFFERED = Templates("test", {**TEMPLATES.revisions, **SHIPPED.revisions})
"""Those of the tests, and those that are shipped as samples."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "claude-code": {"repository": "https://github.com/crawbl/userswarm"},
    "http-agent": {"image": "ghcr.io/example/agent:1"},
}
"""What a template has no default for."""

SETTINGS = replace(scenes.SETTINGS, templates=OFFERED)


def swarm(name: str, templates: Templates = OFFERED, **template: Any) -> tuple[scenes.Json, Settings]:
    """Return a swarm that asks for a template, and the settings that offer it."""
    return scenes.user_swarm(template=asked(name, **template)), replace(SETTINGS, templates=templates)


def asked(name: str, **template: Any) -> dict[str, Any]:
    """Return the spec.template that asks for one of these."""
    parameters = {**PARAMETERS.get(name, {}), **template.pop("parameters", {})}
    return {"name": name, **({"parameters": parameters} if parameters else {}), **template}


def all_features(name: str) -> dict[str, bool]:
    """Return all features of a template, on."""
    return {feature: True for each in OFFERED.of(name) for feature in each.document.get("features", {})}
