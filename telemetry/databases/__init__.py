"""Django's database backends with deadlines: no statement, commit or connection attempt waits for ever.

`telemetry.configuration.environment` sets `postgresql` or `sqlite` as ENGINE. The kind of work of a thread
(`devices.database.work_kinds.current_work`) decides which pool its connection comes from and how long a statement may
take.
"""
