"""The endpoints of alarms and rules. May import everything else in `readings.alarms`."""
