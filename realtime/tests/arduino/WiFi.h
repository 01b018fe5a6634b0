#define WL_CONNECTED 3
struct {
  void begin(const char*, const char*) {}
  int status() { return now_ms >= online_ms ? WL_CONNECTED : 0; }
} WiFi;
