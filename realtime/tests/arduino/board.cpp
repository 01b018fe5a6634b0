// A board for the sketch of docs/connect.md to run on. The argument selects what happens:
// `outage`: the network is away for an hour after the first reading.
// `start`: Wi-Fi connects 3.4 s after the start.
// `refusal`: the server answers 503 for three minutes, then 201.
// Each post is a line: the time in milliseconds, a space, and the body.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
using std::isnan;

static unsigned long now_ms = 0;
static unsigned long online_ms = 0;  // Wi-Fi is connected from this time on
static int status = 201;             // of the server's answers

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

void loops(int count) {
  while (count-- > 0) loop();
}

int main(int, char** arguments) {
  const std::string happens = arguments[1];
  setup();
  if (happens == "start") {
    online_ms = 3400;
    loops(2);
  } else if (happens == "refusal") {
    status = 503;
    loops(3);
    status = 201;
    loops(1);
  } else {
    loops(1);
    online_ms = now_ms + 60 * EVERY_MS;
    loops(61);
  }
}
