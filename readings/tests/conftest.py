import hypothesis

from devices.tests.fixtures import *  # noqa: F403  pytest finds fixtures where they stand

# The same examples every time, and none kept in a directory: a failure is the change's, not the day's.
hypothesis.settings.register_profile("telemetry", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("telemetry")
