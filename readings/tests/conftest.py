import hypothesis

from devices.tests.fixtures import *  # noqa: F403  pytest finds fixtures where they stand

# The same examples in every run, and none stored in a directory, so that a failure comes from the change.
hypothesis.settings.register_profile("telemetry", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("telemetry")
