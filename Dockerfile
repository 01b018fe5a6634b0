# The container serves the product with daphne. `docker run -p 8000:8000 --env-file .env IMAGE`
FROM python:3.11-slim AS build
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --no-cache-dir -r requirements.txt

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 telemetry
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py .
COPY telemetry telemetry
COPY devices devices
COPY readings readings
COPY realtime realtime
RUN mkdir /data && chown telemetry /data
USER telemetry
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 ENV_FILE=/data/.env DATABASE_URL=sqlite:////data/telemetry.sqlite3 HOST=0.0.0.0 PORT=8000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(u.Request(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', headers={'Host': 'localhost'}), timeout=4)"]
# Makes its secrets and its database in /data; with several containers give them DATABASE_URL, REDIS_URL and secrets.
CMD ["python", "manage.py", "up", "--no-demo"]
