# Two images from one file. The gateway has no vLLM and no CUDA:
#
#     docker build --target gateway --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's index of CPU wheels> -t unremember .
#
# and vLLM gets the plug-in, and nothing else of this project:
#
#     docker build --target engine -t unremember-engine .
#
# Bases can be replaced by mirrors or pinned digests through their arguments.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0


# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS gateway-build
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /src
RUN python -m venv /opt/unremember
ENV PATH=/opt/unremember/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY deploy/cpu.lock pyproject.toml README.md LICENSE ./
COPY guards guards
COPY offline offline
COPY server server
# The lock only constrains: what the gateway alone does not need is not installed. The check fails the
# build where the index had only torch's CUDA build, which is larger by gigabytes.
RUN pip install --constraint cpu.lock . \
    && python -c "import torch; assert torch.version.cuda is None, 'set PIP_EXTRA_INDEX_URL to an index of CPU wheels'"


# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS gateway
# A named volume that is mounted over a directory for the first time takes its owner.
RUN useradd --system --uid 10001 --home-dir /var/lib/unremember --create-home unremember \
    && install --directory --owner=unremember /var/cache/unremember
COPY --from=gateway-build /opt/unremember /opt/unremember
ENV PATH=/opt/unremember/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    UNREMEMBER_HOST=0.0.0.0 \
    UNREMEMBER_PORT=8080 \
    UNREMEMBER_DATA_DIR=/var/lib/unremember \
    UNREMEMBER_CACHE_DIR=/var/cache/unremember
USER 10001
VOLUME ["/var/lib/unremember", "/var/cache/unremember"]
EXPOSE 8080
# Alive, not ready: a gateway whose vLLM restarts must not be restarted with it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"UNREMEMBER_PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["unremember"]
CMD ["serve"]


# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS engine-build
WORKDIR /src
COPY guards/engine engine
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./engine


# hadolint ignore=DL3006
FROM ${VLLM_IMAGE} AS engine
COPY --from=engine-build /wheels /tmp/wheels
RUN python3 -m pip install --no-cache-dir /tmp/wheels/*.whl && rm -r /tmp/wheels
COPY --chmod=755 deploy/engine-entrypoint /usr/local/bin/unremember-engine
ENV HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=600s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["unremember-engine"]
