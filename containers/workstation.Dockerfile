# onnxdream on an x86-64 machine with an NVIDIA GPU. Its context is a deployed folder:
#   onnxdream deploy v3-low --target workstation
#   docker build --file containers/workstation.Dockerfile --tag onnxdream v3-low-workstation
#   docker run --rm --gpus all onnxdream verify
# Not yet built: its steps have been run one by one in a plain Debian 12, without a GPU.
FROM debian:bookworm-slim

# CUDA and cuDNN come with the Python packages; the driver, and who may use the GPU, with NVIDIA's container toolkit.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/onnxdream
COPY SHA256SUMS *.json *.onnx *.sh *.txt *.whl ./
# Any command installs; this one needs no GPU.
RUN PIP_NO_CACHE_DIR=1 ./run.sh info

# /data keeps bundles and caches, /pictures is where pictures are read and written.
RUN useradd --create-home dreamer && mkdir /data /pictures && chown dreamer: /data /pictures
ENV ONNXDREAM_HOME=/data
VOLUME /data
USER dreamer
WORKDIR /pictures
ENTRYPOINT ["/opt/onnxdream/run.sh"]
CMD ["verify"]
