# A server of qrt. It answers on port 8080 once it is given a key, which a bind beyond the
# container needs:
#
#   docker build -t qrt .
#   docker run -p 127.0.0.1:8080:8080 -v "$PWD/key:/run/secrets/key:ro" -v qrt:/data qrt
#
# Models are kept in the volume: docker exec CONTAINER qrt pull qwen3:4b. Kernels are compiled for
# the CPU at hand at the first start, and kept there too; TIERS="avx2 avx512vnni" compiles them
# into the image.
FROM python:3.12-slim-bookworm AS build
ARG TIERS=""
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY release release
COPY src src
RUN if [ -n "$TIERS" ]; then pip install --no-cache-dir . && python release/objects.py build/objects $TIERS; fi
RUN pip wheel --no-cache-dir --no-deps -w /wheels .

FROM python:3.12-slim-bookworm
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/qrt-*.whl)[server,grammar]" \
    && rm -r /wheels \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin qrt \
    && install -d -o qrt -g qrt -m 0700 /data
USER qrt
ENV PYTHONUNBUFFERED=1 \
    HF_HOME=/data/huggingface \
    QRT_CACHE_DIR=/data/cache \
    XDG_DATA_HOME=/data/share \
    XDG_CONFIG_HOME=/data/config \
    XDG_STATE_HOME=/data/state
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["qrt"]
CMD ["serve", "--host", "0.0.0.0", "--api-key-file", "/run/secrets/key"]
