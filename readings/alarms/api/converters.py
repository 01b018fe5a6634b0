from django.urls import register_converter
from django.urls.converters import IntConverter


class RuleIdConverter(IntConverter):
    """`<rule_id:rule_id>` in a path: the primary key of a rule. A larger number does not match (404)."""

    regex = "[1-9][0-9]{0,17}"


class ChannelIdConverter(RuleIdConverter):
    """`<channel_id:channel_id>` in a path: the primary key of a channel."""


register_converter(RuleIdConverter, "rule_id")
register_converter(ChannelIdConverter, "channel_id")
