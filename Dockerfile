# Two stages: what is needed to install stays in the first.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python3 -m venv --without-pip /opt/jobengine
COPY requirements.lock requirements-postgres.lock ./
RUN python3 -m pip --python /opt/jobengine/bin/python install --no-cache-dir --require-hashes -r requirements.lock
# The driver for PostgreSQL: 5 MB that are not loaded unless DATABASE_URL is set, and spare us a second image.
RUN python3 -m pip --python /opt/jobengine/bin/python install --no-cache-dir --no-deps --require-hashes \
    -r requirements-postgres.lock
COPY setup.py pyproject.toml README.md LICENSE api_schema.yml ./
COPY jobengine ./jobengine
COPY twisted ./twisted
RUN python3 -m pip --python /opt/jobengine/bin/python install --no-cache-dir --no-deps .

FROM python:3.13-slim
COPY --from=build /opt/jobengine /opt/jobengine
RUN python3 -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && groupadd --gid 10001 jobengine \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /jobengine --shell /usr/sbin/nologin jobengine \
    && install --directory --owner=10001 --group=10001 --mode=0700 /jobengine
ENV DB_PATH=/jobengine/database.jedb \
    API_HOST=0.0.0.0 \
    container=docker \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /jobengine
VOLUME /jobengine
EXPOSE 6006
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/opt/jobengine/bin/python", "-c", \
    "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"API_PORT\") or 6006}/healthz', timeout=2)"]
ENTRYPOINT ["/opt/jobengine/bin/jobengine", "serve"]
