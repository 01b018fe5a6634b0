"""Django's database backends with deadlines: no statement, commit or connection attempt waits for ever.

`postgresql` and `sqlite` are named as ENGINE by `telemetry.configuration.environment`. What a thread works at
(`devices.database.work.current_work`) decides which pool its connection comes from and how long a statement may take.
"""
