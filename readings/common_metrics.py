"""The metrics that every catalogue has from the start: names that devices often use, each with the one usual unit.

Names that are sent in various units, such as soil_moisture and distance, are left out.
"""

from devices.metrics import UNITS, Description

COMMON = {
    "temperature": Description("", UNITS["temperature"], None, 10),
    "humidity": Description("", UNITS["humidity"], None, 20, 0.0, 100.0),
    "pressure": Description("", "hPa", 1, 30),
    "co2": Description("CO₂", "ppm", 0, 40, 0.0),
    "pm1": Description("PM1", "µg/m³", 1, 50, 0.0),
    "pm2_5": Description("PM2.5", "µg/m³", 1, 51, 0.0),
    "pm10": Description("PM10", "µg/m³", 1, 52, 0.0),
    "tvoc": Description("TVOC", "ppb", 0, 55, 0.0),
    "illuminance": Description("", "lx", 0, 60, 0.0),
    "soil_temperature": Description("", "°C", None, 71),
    "dew_point": Description("", "°C", None, 72),
    "wind_direction": Description("", "°", 0, 81, 0.0, 360.0),
    "power": Description("", "W", None, 101),
    "frequency": Description("", "Hz", None, 103),
    "voltage": Description("", UNITS["voltage"], None, 110),
    "battery": Description("", "%", None, 120, 0.0, 100.0),
    "battery_voltage": Description("", "V", None, 121),
    "rssi": Description("RSSI", "dBm", 0, 130),
    "snr": Description("SNR", "dB", None, 131),
    "uptime": Description("", "s", 0, 140, 0.0),
    "free_heap": Description("", "B", 0, 141, 0.0),
}
