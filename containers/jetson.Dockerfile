# onnxdream on a Jetson with JetPack 6. The build context is a deployed folder, and the image is built on the Jetson:
#   onnxdream deploy v3-low --target jetpack6
#   docker build --file jetson.Dockerfile --tag onnxdream v3-low-jetpack6
#   docker run --rm --runtime nvidia --group-add video onnxdream verify
# Untested: this image has not been built yet, because no Jetson was available.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/onnxdream
COPY SHA256SUMS *.json *.onnx *.sh *.txt *.whl ./
# Any command of run.sh installs onnxdream; this one does not need a GPU.
RUN PIP_NO_CACHE_DIR=1 ./run.sh info

# Bundles and caches are kept in /data, pictures are read and written in /pictures. Group video may use the GPU.
RUN useradd --create-home --groups video dreamer && mkdir /data /pictures && chown dreamer: /data /pictures
ENV ONNXDREAM_HOME=/data
VOLUME /data
USER dreamer
WORKDIR /pictures
ENTRYPOINT ["/opt/onnxdream/run.sh"]
CMD ["verify"]
