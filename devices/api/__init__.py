"""The device endpoints, and the JSON codec, path converters and strict serializers that all endpoints use.

May import everything else in `devices`.
"""
