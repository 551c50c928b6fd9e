# `petclassify serve` in a container: the base install and [serve], no torch.
#
#   docker build -t petclassify .
#   docker run --rm -p 8000:8000 -v "$PWD/models:/srv/models:ro" petclassify
#
# It serves the model last trained under the mounted /srv/models; without one, the cats and
# dogs that ship. For another: append `petclassify serve --host 0.0.0.0 --model models/RUN`.
# Its size: benchmarks/image_size.py.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY models/catsdogs.onnx models/
COPY petclassify petclassify
RUN python -m venv --without-pip /opt/petclassify \
    && pip --python /opt/petclassify install --no-cache-dir '/src[serve]'

FROM python:3.12-slim
COPY --from=build /opt/petclassify /opt/petclassify
ENV PATH=/opt/petclassify/bin:$PATH
WORKDIR /srv
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["petclassify", "serve", "--host", "0.0.0.0"]
