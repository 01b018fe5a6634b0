"""The live pages: the fleet, one device, and the guide made from `docs/`.

May import `realtime.access`.
"""
