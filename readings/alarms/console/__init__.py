"""The console's pages for channels and for the outbox. May import everything else in `readings.alarms`."""
