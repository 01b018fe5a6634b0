"""Live readings exactly as in the documentation of Channels: core Redis layer, nothing stored."""

import os

SECRET_KEY = "benchmark" * 5
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["channels"]
ROOT_URLCONF = "benchmarks.contenders.stock.asgi"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": os.environ["BENCH_REDIS"], "socket_timeout": None}]},
    }
}
DATABASES: dict[str, object] = {}
USE_TZ = True
LOGGING = {"version": 1, "disable_existing_loggers": True}
