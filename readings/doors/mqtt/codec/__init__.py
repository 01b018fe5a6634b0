"""Encodes and decodes MQTT packets, versions 3.1.1 and 5, without input or output. Imports nothing of ours.

"3.1.1" in docstrings is the OASIS standard of 29 October 2014, "5" that of 7 March 2019; `[MQTT-…]` are their numbered
statements.
"""
