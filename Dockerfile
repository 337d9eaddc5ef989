# mmfusion in a container, on a CPU:    docker build -t mmfusion . && docker run --rm mmfusion
# with CUDA (ops are compiled for it):  docker build -t mmfusion --build-arg TARGET=cuda --build-arg CUDA=X.Y.Z .
#   CUDA is the version that torch was built for (python -c 'import torch; print(torch.version.cuda)'), as NVIDIA tags its images;
#   then:                               docker run --rm --gpus all mmfusion
# The steps are those of requirements/install.sh; only torch's CPU build, which saves some gigabytes, is chosen here.
# Its index stands beside the usual one, which has the packages that torch needs; pip takes the build called 2.x.y+cpu before 2.x.y.
ARG TARGET=cpu
ARG CUDA=12.8.1

FROM debian:bookworm-slim AS base-cpu
ENV TORCH_INDEX=https://download.pytorch.org/whl/cpu

FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS base-cuda
ENV FORCE_CUDA=1

FROM base-${TARGET}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates g++ make python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /mmfusion
COPY . .
ARG MAX_JOBS
ENV VENV=/mmfusion/.venv PYTHON=python3
RUN python3 -m venv "$VENV" \
    && if [ -n "${TORCH_INDEX:-}" ]; then \
        "$VENV/bin/python" -m pip install --quiet -c requirements/constraints.txt torch --extra-index-url "$TORCH_INDEX"; fi \
    && bash requirements/install.sh \
    && rm -rf /root/.cache
ENV PATH=/mmfusion/.venv/bin:$PATH OMP_WAIT_POLICY=PASSIVE
CMD ["mmfusion", "info"]
