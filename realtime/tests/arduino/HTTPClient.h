struct HTTPClient {
  void begin(const char*) {}
  void addHeader(const char*, const char*) {}
  int POST(const String& body) {
    now_ms += 40;  // what a post takes
    printf("%lu %s\n", now_ms, body.c_str());
    return status;
  }
  String getString() { return ""; }
  String errorToString(int) { return ""; }
  void end() {}
};
