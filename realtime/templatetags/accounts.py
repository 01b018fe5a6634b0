from django import template

from devices.access import roles

register = template.Library()
register.filter("has_role", roles.has_role)
