"""The device endpoints, and the JSON, path converters and strict serializers that all endpoints share.

May import everything else in `devices`.
"""
