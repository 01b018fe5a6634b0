"""Devices: their keys, the permissions of callers, and the state of each device's log.

Owns devices, their state, keys, authentication, the device endpoints, the device admin, and the threads and deadlines
of database work. Imports none of the other packages.
"""
