"""Wakes the loop of this process that delivers messages; loops in other processes look every second."""

import threading

awake = threading.Event()


def wake() -> None:
    """To be called after the commit of something to deliver."""
    awake.set()
