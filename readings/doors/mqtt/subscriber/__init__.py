"""The MQTT subscriber: takes messages from a broker of somebody else, and acknowledges them after the commit.

`addresses` and `patterns` read its two settings, `packets` has its side of the protocol, `session` one connection,
`turns` lets one process at a time subscribe, `subscriber` connects again and stores.
"""
