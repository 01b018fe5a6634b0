"""Virtual devices for `manage.py simulate`: they post over HTTP; then acknowledged readings are compared with the log.

Uses only the HTTP API, like a real device.
"""
