# onnxdream on an x86-64 machine with an NVIDIA GPU. The build context is a deployed folder:
#   onnxdream deploy v3-low --target workstation
#   docker build --file containers/workstation.Dockerfile --tag onnxdream v3-low-workstation
#   docker run --rm --gpus all onnxdream verify
# Untested: this image has not been built yet; its steps were run one by one in a plain Debian 12, without a GPU.
FROM debian:bookworm-slim

# CUDA and cuDNN come with the Python packages; NVIDIA's container toolkit provides the driver and access to the GPU.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/onnxdream
COPY SHA256SUMS *.json *.onnx *.sh *.txt *.whl ./
# Any command of run.sh installs onnxdream; this one does not need a GPU.
RUN PIP_NO_CACHE_DIR=1 ./run.sh info

# Bundles and caches are kept in /data, pictures are read and written in /pictures.
RUN useradd --create-home dreamer && mkdir /data /pictures && chown dreamer: /data /pictures
ENV ONNXDREAM_HOME=/data
VOLUME /data
USER dreamer
WORKDIR /pictures
ENTRYPOINT ["/opt/onnxdream/run.sh"]
CMD ["verify"]
