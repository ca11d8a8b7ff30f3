# syntax=docker/dockerfile:1
# One image for all of ours that runs in a cluster: the webhook (serve), the init containers of swarms (bootstrap), the
# reaper (reap), and the gate's decisions (gate), beside Envoy's own image.
#
# The base's tag says what it is, its digest (of the index of all platforms) is what counts; the same in both stages.

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# What builds the wheel, by hash too; none of it gets into the image.
COPY <<"EOF" build.lock
hatchling==1.33.0 \
    --hash=sha256:415290b84f464d2884303fca8974d38e7b85579069fab02a15db0828fbb1446d \
    --hash=sha256:4c422bd4d554fcff5de5b73e9596f85e41e9f97f7e553d8f7595ecb31a627bef
packaging==26.3 \
    --hash=sha256:94edc256424af38762eb31306eed28beb9f0efc50a8837492c9d6fd6004aed79 \
    --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c
pathspec==1.1.1 \
    --hash=sha256:17db5ecd524104a120e173814c90367a96a98d07c45b2e10c2f3919fff91bf5a \
    --hash=sha256:a00ce642f577bf7f473932318056212bc4f8bfdf53128c78bbd5af0b9b20b189
pluggy==1.7.0 \
    --hash=sha256:7dd7b0d8832ba3cb632c306926ded123429211b83641b35dc5c41ad2d34f9bec \
    --hash=sha256:d1eaa46ebb595891b860ab086b4d09c8588af65ebd4361b8e8f4bb8920b90ba8
tomlkit==0.15.2 \
    --hash=sha256:05562412163a3037b94497385fb7f9204c637bc605af7a48199e41cf2272f437 \
    --hash=sha256:83e32755ba1d20d9340bd069ee97e9f6232ba2346b63ffcba425de01f7e327a6
trove-classifiers==2026.9.21.13 \
    --hash=sha256:0a9ebc8d4e2f3e8a22848c5258033035bec17a3012ac3fea16dbaa764489eb71 \
    --hash=sha256:8b1ff4f9c191b1040b71c37f1e445ab99732911e3cd91de52838453a854d7a17
EOF
RUN python -m pip install --require-hashes --only-binary :all: -r build.lock

# The dependencies first: they change less often than the code.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/userswarm \
    && python -m pip --python /opt/userswarm/bin/python install \
        --no-deps --require-hashes --only-binary :all: -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY hooks hooks
COPY manifests manifests
RUN python -m pip wheel --no-build-isolation --no-deps --no-index --wheel-dir dist . \
    && python -m pip --python /opt/userswarm/bin/python install --no-deps --no-index dist/*.whl \
    # A swarm's Pods run it as another user than the webhook does: whoever it is may read it, nobody may write it.
    && chmod -R a+rX,go-w /opt/userswarm

FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS run
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="userswarm" \
      org.opencontainers.image.description="A private, isolated agent runtime on Kubernetes for every user: hooks, bootstrap, reaper and gate" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/crawbl/userswarm" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13.15-slim-trixie"
# What the steps of a template run: git, ssh, and what lets ssh run as a user without a name. From Debian's archive, signed
# by it, in whatever version it has now.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libnss-wrapper openssh-client \
    && rm -rf /var/lib/apt/lists/*
# Nothing is installed at run time.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip
COPY --from=build /opt/userswarm /opt/userswarm
# No byte code is written and no home is needed: the root file system may be read-only, with a /tmp.
ENV PATH=/opt/userswarm/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USERSWARM_BIND=0.0.0.0:8080
WORKDIR /
# By number, so that runAsNonRoot can be checked.
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# For engines without probes of their own; Kubernetes ignores it. Without TLS only.
HEALTHCHECK --interval=15s --timeout=6s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=5)"]
ENTRYPOINT ["userswarm"]
CMD ["serve"]
