# syntax=docker/dockerfile:1
# The server of gpt1, for processors; build with: docker build -t gpt1 .
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# A compiler for the kernels; CMake and Ninja come from the package index. No version of it is in
# the image that is made, so none is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY csrc csrc
COPY src src
# EXTRAS: "serve", or "playground" or "cluster", which bring more.
ARG EXTRAS=serve
# Where PyTorch comes from; its own index has it without CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/gpt1 \
    && /opt/gpt1/bin/pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" \
        --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin gpt1
COPY --from=build /opt/gpt1 /opt/gpt1
# All that is ever written goes to /tmp, so that the rest can be read-only.
ENV PATH=/opt/gpt1/bin:$PATH \
    HOME=/tmp \
    HF_HOME=/tmp/huggingface \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["gpt1"]
# Everybody who can reach the container has to bring a key of this file.
CMD ["serve", "--host", "0.0.0.0", "--api-key-file", "/run/secrets/gpt1_api_key"]
