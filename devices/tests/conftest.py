from devices.tests.fixtures import *  # noqa: F403  pytest finds fixtures where they stand
