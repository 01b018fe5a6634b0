from django.urls import path

from readings.alarms.api import converters  # noqa: F401  registers <rule_id:…>
from realtime.pages.alarms import alarm_counts, alarms_page, mutes, rule_page, rules_page

urlpatterns = [
    path("", alarms_page, name="alarms"),
    path("-/open", alarm_counts, name="alarm-counts"),
    path("-/mutes", mutes, name="alarm-mutes"),
    path("rules/", rules_page, name="alarm-rules"),
    path("rules/new", rule_page, name="alarm-rule-new"),
    path("rules/<rule_id:rule_id>/", rule_page, name="alarm-rule"),
]
