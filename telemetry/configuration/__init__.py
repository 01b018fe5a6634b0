"""Settings from the environment and `.env`, system checks that refuse an unsafe start, and first-time setup.

`environment` is imported by the settings, so it must not import modules that need them. The others may import
everything in `telemetry`.
"""
