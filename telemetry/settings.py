"""All settings, from the environment and `.env`; every name is documented in `.env.example`."""

import os
from datetime import timedelta
from pathlib import Path

from telemetry.configuration.environment import Environment, database, local_names, mail, unencoded
from telemetry.monitoring.logging import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

ENV_FILE = Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")
env = Environment(ENV_FILE)

# --- Settings from the environment ---------------------------------------------------------------

SECRET_KEY: str = env.str("SECRET_KEY", default="")
API_SECRET_KEY: str = env.str("API_SECRET_KEY", default="")
DEVICE_API_KEYS: list[str] = [key.strip() for key in env.list("DEVICE_API_KEYS", default=[])]
APP_ENV: str = env.str("APP_ENV", default="development")
DEBUG: bool = env.bool("DEBUG", default=False)
HOST: str = env.str("HOST", default="127.0.0.1")
PORT: int = env.number("PORT", default=8000)
LISTED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[])
ALLOWED_ORIGINS: list[str] = [origin.rstrip("/") for origin in env.list("ALLOWED_ORIGINS", default=[])]
# Addresses and networks; "unix" for clients that connect over a Unix socket.
TRUSTED_PROXIES: list[str] = [entry.strip() for entry in env.list("TRUSTED_PROXIES", default=[])]
# Seconds; sent only in production, over HTTPS.
HSTS_SECONDS: int = env.number("HSTS_SECONDS", default=365 * 86_400)
REDIS_URL: str = env.str("REDIS_URL", default="")
# Channel-layer groups are spread over these servers.
REDIS_URLS = [url.strip() for url in REDIS_URL.split(",")] if REDIS_URL else []
LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT: str = env.str("LOG_FORMAT", default="console").lower()
MAX_BODY_BYTES: int = env.number("MAX_BODY_BYTES", default=4 * 1024 * 1024)
# HTTP and WebSocket connections that one address may have open at the same time in each process; 0: no limit.
CONNECTIONS_PER_ADDRESS: int = env.number("CONNECTIONS_PER_ADDRESS", default=200)
# Days; 0 keeps readings for ever.
RETENTION_DAYS: int = env.number("RETENTION_DAYS", default=0)
# Billions of bytes that all readings may take; 0: no limit.
RETENTION_GB: float = env.fraction("RETENTION_GB", default=0)
# Days after their receipt when readings are sealed; 0: never.
SEAL_AFTER_DAYS: float = env.fraction("SEAL_AFTER_DAYS", default=2)
# Days that a resolved alarm is kept; 0 keeps it for ever.
ALARM_RETENTION_DAYS: int = env.number("ALARM_RETENTION_DAYS", default=365)
# Whether channels may send to private networks and to this machine.
ALLOW_PRIVATE_TARGETS: bool = env.bool("ALLOW_PRIVATE_TARGETS", default=True)
# Extra metric names per device, not counting temperature, humidity and voltage.
METRIC_NAMES_PER_DEVICE: int = env.number("METRIC_NAMES_PER_DEVICE", default=200)
# Whether the tables of the log are distributed by Citus (devices.database.placement).
DISTRIBUTED: bool = env.bool("DISTRIBUTED", default=False)
DEVICE_RATE_LIMIT: str = env.str("DEVICE_RATE_LIMIT", default="")
# Other protocols that are accepted (readings.doors.switches).
DOORS: list[str] = [name.strip().lower() for name in env.list("DOORS", default=["influx", "mqtt", "lorawan"])]
# Ports for MQTT; 0: none. The TLS port needs a certificate (PEM) and its key.
MQTT_PORT: int = env.number("MQTT_PORT", default=1883)
MQTT_TLS_PORT: int = env.number("MQTT_TLS_PORT", default=0)
MQTT_TLS_CERT: str = env.str("MQTT_TLS_CERT", default="")
MQTT_TLS_KEY: str = env.str("MQTT_TLS_KEY", default="")
# Port of `manage.py mqtt` for /metrics and /health/live; 0: none.
MQTT_METRICS_PORT: int = env.number("MQTT_METRICS_PORT", default=0)
# A broker to subscribe to (readings.doors.mqtt.subscriber): mqtt://user:password@host:1883; empty: none.
MQTT_BROKER_URL: str = env.str("MQTT_BROKER_URL", default="")
MQTT_BROKER_TOPICS: list[str] = [
    topic.strip() for topic in env.list("MQTT_BROKER_TOPICS", default=["telemetry/#", "tele/#"])
]
# The tags of InfluxDB lines that name the device, for gateways; of those that a line has, the first here counts.
INFLUX_DEVICE_TAGS: list[str] = [
    name.strip() for name in env.list("INFLUX_DEVICE_TAGS", default=["device", "device_id", "host", "entity_id"])
]
# Seconds between two reports of a device that has no `report_interval` of its own.
DEFAULT_REPORT_INTERVAL: int = env.number("DEFAULT_REPORT_INTERVAL", default=60)
# Requests other than ingest that one caller (key or session, else address) may have running in each process.
QUESTIONS_PER_CALLER: int = env.number("QUESTIONS_PER_CALLER", default=4)

# The pages' address for people, such as https://telemetry.example.org, for the links in messages.
PUBLIC_URL: str = env.str("PUBLIC_URL", default="").rstrip("/")
# The mail server; empty: no e-mail is sent.
EMAIL_URL = env.str("EMAIL_URL", default="")
EMAIL_FROM: str = env.str("EMAIL_FROM", default="telemetry@localhost")

DATABASE_URL = env.str("DATABASE_URL", default="sqlite:///telemetry.sqlite3")

# --- Derived and fixed settings ------------------------------------------------------------------

DATABASES = {"default": database(DATABASE_URL, base=BASE_DIR)}
# Characters of its user and password that must be percent-encoded, for the system check.
DATABASE_URL_UNENCODED = unencoded(DATABASE_URL)
del DATABASE_URL  # DATABASES has its password already
EMAIL_URL_SET = bool(EMAIL_URL)
globals().update(mail(EMAIL_URL))
DEFAULT_FROM_EMAIL = EMAIL_FROM
# Seconds to connect, and for each answer of the mail server.
EMAIL_TIMEOUT = 10
del EMAIL_URL  # it has a password, and the settings above have it already
IN_PRODUCTION = APP_ENV == "production"
# The listed names, this machine's loopback names and, with HOST=0.0.0.0, its names on the local network.
ALLOWED_HOSTS = [*LISTED_HOSTS, *local_names(HOST)]

INSTALLED_APPS = [
    "telemetry",
    "realtime",
    "readings.alarms",
    "readings",
    "devices",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "servestatic",
    "corsheaders",
    "axes",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "telemetry.apps.ConsoleConfig",
]

MIDDLEWARE = [
    "telemetry.middleware.request_id.RequestId",
    "telemetry.middleware.access_log.Observed",
    "telemetry.gateway.request_limits.KnownCallers",
    "telemetry.middleware.compression.Compression",
    "telemetry.middleware.content_security_policy.ContentSecurityPolicy",
    "corsheaders.middleware.CorsMiddleware",
    "telemetry.middleware.problems.Problems",
    "django.middleware.security.SecurityMiddleware",
    "telemetry.middleware.static_files.StaticFiles",
    "telemetry.middleware.request_id.OptionalSlash",
    "telemetry.middleware.request_id.Private",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "telemetry.urls"
ASGI_APPLICATION = "telemetry.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Seconds. By default the in-memory layer drops a group member after a day.
FOR_EVER = 100 * 365 * 86_400
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "realtime.announcing.redis_layer.ChannelLayer",
        # Only connecting has a deadline, because an idle subscription waits without limit.
        "CONFIG": {
            "hosts": [{"address": url, "socket_connect_timeout": 2, "socket_timeout": None} for url in REDIS_URLS]
        },
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000, "group_expiry": FOR_EVER}}
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "devices.access.authentication.KeyAuthentication",
        "devices.access.authentication.StaffSessionAuthentication",
    ],
    # Views are for administrators unless they declare other permissions.
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_PARSER_CLASSES": ["devices.api.json.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["devices.api.json.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "devices.api.json.JSONUnlessAsked",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "telemetry.middleware.problems.exception_handler",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",  # as devices.times.rfc3339; TIME_ZONE is UTC
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Telemetry backend",
    "DESCRIPTION": "Ingest, history, statistics and live streams of sensor readings.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    # Anyone may open these pages; the navigation on them shows the signed-in account.
    "SERVE_AUTHENTICATION": ["devices.access.authentication.StaffSessionAuthentication"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Off, because its links to operations are nested in buttons, which screen readers cannot tell apart. ReDoc has
    # usable links.
    "SWAGGER_UI_SETTINGS": {"deepLinking": False},
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": ["telemetry.openapi.hooks.complete"],
    "COMPONENT_SPLIT_REQUEST": True,
    # The order in which the documentation shows them.
    "TAGS": [
        {"name": name}
        for name in (
            *(
                "ingest",
                "doors",
                "devices",
                "tags",
                "tokens",
                "changes",
                "alarms",
                "alarm-rules",
                "channels",
                "realtime",
            ),
            "health",
        )
    ],
}

PASSWORD_HASHERS = ["telemetry.password_hashing.BoundedPBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# After ten wrong passwords for one name from one address, that pair is locked for 15 minutes. The lock needs both,
# because otherwise anyone could lock out an account from anywhere.
# docs/decisions/0020-throttle-sign-in-by-name-and-address.md
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "telemetry.console.lockout.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# Not stored: people sometimes type the password as the name, and `next` can contain a device id.
AXES_SENSITIVE_PARAMETERS = ["username", "next"]

LOGIN_URL = "admin:login"
# The page after signing in if `next` is on another host.
LOGIN_REDIRECT_URL = "admin:index"
SESSION_ENGINE = "telemetry.console.sessions"
# Not in sessions, which are stored in the database: messages contain device ids, and erasing a device must remove all.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True  # on HTML pages only; JSON and CSV have plain numbers

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Static files are served from the apps' folders, so collectstatic is not needed before the first start.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_USE_STATIC_ROOT = False
SERVESTATIC_AUTOREFRESH = False

DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

# The page of a device, for the admin; `devices` must not import `realtime`.
ABSOLUTE_URL_OVERRIDES = {"devices.device": lambda device: f"/live/{device.device_id}/"}

CSRF_TRUSTED_ORIGINS = ALLOWED_ORIGINS
# Pages of these origins may call the API with a key or token, and without cookies. Not where devices post, which are no
# browsers: ingest and the doors.
CORS_ALLOWED_ORIGINS = ALLOWED_ORIGINS
CORS_URLS_REGEX = r"^/api/v1/(?!ingest|doors/|[^/]+/(?:telemetry|attributes))"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = ("accept", "authorization", "content-type", "x-api-key", "x-request-id")
CORS_EXPOSE_HEADERS = ("retry-after", "x-request-id")
# Seconds for which browsers remember what a preflight request said.
CORS_PREFLIGHT_MAX_AGE = 600
CSRF_FAILURE_VIEW = "telemetry.middleware.problems.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IN_PRODUCTION
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = HSTS_SECONDS if IN_PRODUCTION else 0
# Redirect pages to HTTPS only behind a known proxy that ends TLS: without one every request looks like HTTP here, and
# redirects would loop. API requests are never redirected, because a POST loses its body and its key was sent already.
SECURE_SSL_REDIRECT = IN_PRODUCTION and bool(TRUSTED_PROXIES)
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^health", r"^metrics"]
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # includeSubDomains and preload affect other hosts: set them in the proxy
    "security.W021",
]

LOGGING = logging_config(level=LOG_LEVEL, output=LOG_FORMAT)
