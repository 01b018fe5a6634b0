"""The InfluxDB door: line protocol over HTTP, as InfluxDB 1 and 2 accept it. May import what all doors share."""
