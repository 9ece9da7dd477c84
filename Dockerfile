# The exchange, its gateway and the agent in one image: `serve` (the default), `gateway`, or another command of gollem.
#   docker build --tag gollem .
# `make image-check` runs these very steps in a bare Debian, without Docker.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -qy --no-install-recommends ca-certificates gcc libc6-dev python3-dev python3-venv
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/gollem \
 && /opt/gollem/bin/pip install --quiet --no-cache-dir ./clients/python '.[dynamodb,gateway,otel,redis,stripe]' \
 && /opt/gollem/bin/pip freeze --all > /opt/gollem/installed.txt

FROM ${BASE}
RUN apt-get update \
 && apt-get install -qy --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/gollem --shell /usr/sbin/nologin gollem \
 && install --directory --owner gollem --group gollem --mode 700 /var/lib/gollem
COPY --from=build /opt/gollem /opt/gollem
COPY --chmod=755 deploy/docker/gollem-healthy /usr/local/bin/gollem-healthy
# Inside a container, 127.0.0.1 is reached by nobody.
ENV PATH=/opt/gollem/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GOLLEM_STORAGE_DATA=/var/lib/gollem \
    GOLLEM_SERVER_HOST=0.0.0.0 \
    GOLLEM_SERVER_METRICS_HOST=0.0.0.0 \
    GOLLEM_BRIDGE_HOST=0.0.0.0 \
    GOLLEM_GATEWAY_LISTEN=0.0.0.0:8090
# The only place that is written to: the root may be read-only. The gateway needs a writable /tmp as well.
VOLUME /var/lib/gollem
WORKDIR /var/lib/gollem
USER 10001:10001
EXPOSE 50051 8080 8090 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["gollem-healthy"]
ENTRYPOINT ["gollem"]
CMD ["serve"]
