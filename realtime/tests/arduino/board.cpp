// A board for the sketch of docs/connect.md to run on: an hour's outage after the first reading, then the network again.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
using std::isnan;

static unsigned long now_ms = 0;
static bool online = true;

unsigned long millis() { return now_ms; }
void delay(unsigned long ms) { now_ms += ms; }
uint32_t esp_random() { return (uint32_t)rand(); }

struct String : std::string {
  using std::string::string;
  String(const char* text) : std::string(text) {}
};
struct {
  void begin(int) {}
  void println(int) {}
  void println(const String&) {}
} Serial;

void keep(float temperature);
bool post();
#include "sketch.h"

int main() {
  setup();
  loop();
  online = false;
  for (int minute = 0; minute < 60; minute++) loop();
  online = true;
  loop();
}
