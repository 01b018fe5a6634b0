"""Devices: who may post and read, and where each device's log stands.

Owns devices, their state, keys, authentication, the device endpoints and the device admin, and how threads use the
database. Imports nothing of the other packages.
"""
