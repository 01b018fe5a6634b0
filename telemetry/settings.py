"""All settings, from the environment and `.env`; every name is documented in `.env.example`."""

import os
from datetime import timedelta
from pathlib import Path

from telemetry.configuration.environment import Environment, database, local_names
from telemetry.monitoring.logging import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent

ENV_FILE = Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")
env = Environment(ENV_FILE)

# --- What operators set -------------------------------------------------------------------------

SECRET_KEY: str = env.str("SECRET_KEY", default="")
API_SECRET_KEY: str = env.str("API_SECRET_KEY", default="")
DEVICE_API_KEYS: list[str] = [key.strip() for key in env.list("DEVICE_API_KEYS", default=[])]
APP_ENV: str = env.str("APP_ENV", default="development")
DEBUG: bool = env.bool("DEBUG", default=False)
HOST: str = env.str("HOST", default="127.0.0.1")
PORT: int = env.number("PORT", default=8000)
LISTED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[])
ALLOWED_ORIGINS: list[str] = [origin.rstrip("/") for origin in env.list("ALLOWED_ORIGINS", default=[])]
# Addresses and networks; "unix" for whoever comes over a Unix socket.
TRUSTED_PROXIES: list[str] = [entry.strip() for entry in env.list("TRUSTED_PROXIES", default=[])]
# Seconds; sent in production, over HTTPS.
HSTS_SECONDS: int = env.number("HSTS_SECONDS", default=365 * 86_400)
REDIS_URL: str = env.str("REDIS_URL", default="")
# Groups are spread over them.
REDIS_URLS = [url.strip() for url in REDIS_URL.split(",")] if REDIS_URL else []
LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT: str = env.str("LOG_FORMAT", default="console").lower()
MAX_BODY_BYTES: int = env.number("MAX_BODY_BYTES", default=4 * 1024 * 1024)
# HTTP and WebSocket connections that one address may have open at a time, for each process; 0: no limit.
CONNECTIONS_PER_ADDRESS: int = env.number("CONNECTIONS_PER_ADDRESS", default=200)
# Days; 0 keeps readings for ever.
RETENTION_DAYS: int = env.number("RETENTION_DAYS", default=0)
# Beside temperature, humidity and voltage.
METRIC_NAMES_PER_DEVICE: int = env.number("METRIC_NAMES_PER_DEVICE", default=200)
DEVICE_RATE_LIMIT: str = env.str("DEVICE_RATE_LIMIT", default="")
# How often a device should report, in seconds, where the device itself does not say.
DEFAULT_REPORT_INTERVAL: int = env.number("DEFAULT_REPORT_INTERVAL", default=60)
# Questions that one caller (key, session, or address of those without) may have under way in a process.
QUESTIONS_PER_CALLER: int = env.number("QUESTIONS_PER_CALLER", default=4)

DATABASES = {"default": database(env.str("DATABASE_URL", default="sqlite:///telemetry.sqlite3"), base=BASE_DIR)}

# --- What follows from it -----------------------------------------------------------------------

IN_PRODUCTION = APP_ENV == "production"
# Beside those listed, what this machine is called by itself and, with HOST=0.0.0.0, by its neighbours.
ALLOWED_HOSTS = [*LISTED_HOSTS, *local_names(HOST)]

INSTALLED_APPS = [
    "telemetry",
    "realtime",
    "readings",
    "devices",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "servestatic",
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
    "telemetry.gateway.questions.KnownCallers",
    "telemetry.middleware.content_security_policy.ContentSecurityPolicy",
    "telemetry.middleware.problems.Problems",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
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

# Seconds. By default a socket in memory hears nothing more after a day.
FOR_EVER = 100 * 365 * 86_400
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "realtime.announcing.redis_layer.ChannelLayer",
        # Only connecting has a deadline: an idle subscription must be allowed to wait for ever.
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
    # Closed unless a view says otherwise.
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_PARSER_CLASSES": ["devices.api.json.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["devices.api.json.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "devices.api.json.JSONUnlessAsked",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "telemetry.middleware.problems.exception_handler",
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
    # For the navigation on the pages to know who looks; they are anyone's.
    "SERVE_AUTHENTICATION": ["devices.access.authentication.StaffSessionAuthentication"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Its links to operations are links in buttons, which a screen reader cannot tell apart; ReDoc has such links.
    "SWAGGER_UI_SETTINGS": {"deepLinking": False},
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": ["telemetry.openapi.hooks.complete"],
    "COMPONENT_SPLIT_REQUEST": True,
}

PASSWORD_HASHERS = ["telemetry.hashing.BoundedPBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# Ten wrong passwords for a name from an address, and both have to wait; a lock that anyone could put on a name from
# anywhere would keep its owner out. docs/decisions/0020-throttle-sign-in-by-name-and-address.md
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "telemetry.console.lockout.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# Not written down: who is in a hurry types the password where the name belongs, and `next` names devices.
AXES_SENSITIVE_PARAMETERS = ["username", "next"]

LOGIN_URL = "admin:login"
# Where a sign-in leads whose `next` is of another host.
LOGIN_REDIRECT_URL = "admin:index"
SESSION_ENGINE = "telemetry.console.sessions"
# Not in sessions, which the database keeps: messages name devices, and an erased one must be in no table.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True  # on pages alone; JSON and CSV have numbers as they are

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Served from where the apps keep them: nothing to collect before the first start.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_USE_STATIC_ROOT = False
SERVESTATIC_AUTOREFRESH = False

DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

# Where a device can be looked at; `devices` itself knows no pages.
ABSOLUTE_URL_OVERRIDES = {"devices.device": lambda device: f"/live/{device.device_id}/"}

CSRF_TRUSTED_ORIGINS = ALLOWED_ORIGINS
CSRF_FAILURE_VIEW = "telemetry.middleware.problems.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IN_PRODUCTION
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = HSTS_SECONDS if IN_PRODUCTION else 0
# Pages move to HTTPS where a proxy is known that ends it: without one every request looks like HTTP from here, and
# would go in a circle. A device's request is never redirected: it would lose its body, and its key was seen already.
SECURE_SSL_REDIRECT = IN_PRODUCTION and bool(TRUSTED_PROXIES)
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^health", r"^metrics"]
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # includeSubDomains and preload bind other hosts than this one: their owner's to say, in the proxy
    "security.W021",
]

LOGGING = logging_config(level=LOG_LEVEL, output=LOG_FORMAT)
