#define WL_CONNECTED 3
struct {
  void begin(const char*, const char*) {}
  int status() { return online ? WL_CONNECTED : 0; }
} WiFi;
