"""Registration of many devices at once, from a table: read and check it, register its devices, print their labels.

May import `devices.api`'s serializers and everything below them. The API and the console call it.
"""
