"""Virtual devices for `manage.py simulate`: they post over HTTP, then what was acknowledged is compared with the log.

Uses the API alone, as a device does.
"""
