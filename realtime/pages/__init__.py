"""The live pages: the fleet, one device, and the guide, which is rendered from `docs/`.

May import `realtime.access` and `realtime.protocol`.
"""
