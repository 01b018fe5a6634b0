from django.urls import register_converter
from django.urls.converters import IntConverter


class RuleIdConverter(IntConverter):
    """`<rule_id:rule_id>` in a path: the primary key of a rule. A larger number does not match (404)."""

    regex = "[1-9][0-9]{0,17}"


register_converter(RuleIdConverter, "rule_id")
