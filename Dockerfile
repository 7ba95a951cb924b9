# `restore web` in a container, with the CPU build of torch:
#
#   docker build -t restore .
#   docker run --rm -p 8000:8000 -e RESTORE_TOKEN=choose-one restore
#
# The address with its token is printed. Pictures stay in memory: run it read-only if you like
# (docker run --read-only --tmpfs /tmp ...).
FROM python:3.12-slim

# OpenCV's wheel needs these two libraries.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY restore restore
COPY weights weights
RUN pip install --no-cache-dir ".[web,raw,heif]" && rm -rf /src/*

RUN useradd --create-home --uid 10001 restore
USER restore
WORKDIR /home/restore
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["restore", "web", "--host", "0.0.0.0", "--port", "8000"]
