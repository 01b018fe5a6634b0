"""From the environment and `.env` to settings; checks that stop an unsafe start; what a new installation needs.

May import everything else in `telemetry`, except by `environment`, which the settings use.
"""
