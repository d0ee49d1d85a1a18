# A pod that is ready at once: packages, demo model, llama.cpp and the kernel are in the image, JupyterLab opens on 00.
#
#   docker build -t qlora-notebooks . && docker push YOUR/qlora-notebooks
#   RunPod: New Template, this image, port 8888, volume on /workspace, secret JUPYTER_PASSWORD
#
# The base image brings torch for CUDA, and `start.sh`, which starts JupyterLab. Not run on RunPod by us.
FROM runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404

WORKDIR /opt/qlora-notebooks
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV VENV_DIR=/opt/qlora-venv QLORA_CACHE_DIR=/opt/qlora-cache

# the packages first: a change of a notebook does not fetch them again
COPY requirements*.txt constraints.txt pyproject.toml setup_kernel.sh setup_kernel.py README.md ./
COPY helpers helpers
COPY notebooks notebooks
RUN bash setup_kernel.sh && rm -rf /root/.cache/pip /root/.cache/uv
COPY . .
# RunPod's start.sh serves the whole disk; this is the page that it opens
RUN mkdir -p /etc/jupyter && \
  echo '{"LabApp": {"default_url": "/lab/tree/opt/qlora-notebooks/notebooks/00_first_look.ipynb"}}' >/etc/jupyter/jupyter_lab_config.json
