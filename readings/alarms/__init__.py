"""Alarms: rules, the evaluation of new readings against them, and the alarms that it opens and resolves.

A Django app of its own, with the label `alarms`. May import everything else in `readings`; nothing there imports it.
The reasons: docs/decisions/0044-judge-alarms-by-log-position.md
"""
