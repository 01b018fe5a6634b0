// A board for the MQTT sketch of docs/connect.md: Wi-Fi connects after 3 s. It runs for three minutes.

#include <cmath>
#include <cstdint>
#include <cstdio>
using std::isnan;

static unsigned long now_ms = 0;
static unsigned long online_ms = 3000;
unsigned long millis() { return now_ms; }
void delay(unsigned long ms) { now_ms += ms; }
struct {
  void begin(int) {}
  void println(int) {}
} Serial;

#include "mqtt_sketch.h"

int main() {
  setup();
  while (now_ms < 130000) loop();
}
