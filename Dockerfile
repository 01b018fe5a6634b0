# Runs the product with daphne. `docker run -p 8000:8000 -v telemetry:/data -e ALLOWED_HOSTS=localhost IMAGE`
# Without access to a registry: --build-arg BASE=an image with Python 3.11 or newer and its venv module.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
RUN python3 -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM ${BASE}
RUN useradd --create-home --uid 10001 telemetry && mkdir --mode=0700 /data && chown telemetry /data
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py .
COPY docs docs
COPY telemetry telemetry
COPY devices devices
COPY readings readings
COPY realtime realtime
USER telemetry
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ENV_FILE=/data/.env DATABASE_URL=sqlite:////data/telemetry.sqlite3 HOST=0.0.0.0 PORT=8000
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# Checks only that the process answers, because restarting it does not help if the database is down.
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(u.Request(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', headers={'Host': 'localhost'}), timeout=4)"]
# Creates its secrets and its database in /data. To run several containers use compose.yaml.
CMD ["python", "manage.py", "up", "--no-demo"]
