// Stubs of the library PubSubClient 2.8 and of ESP32's WiFiClient, with the signatures that the sketch uses.
struct WiFiClient {};
struct PubSubClient {
  bool open = false;
  bool lost = false;
  PubSubClient(WiFiClient&) {}
  void setServer(const char* host, uint16_t port) { printf("server %s %d\n", host, port); }
  bool loop() {  // the connection is lost once, after 90 s
    if (open && !lost && now_ms > 90000) {
      lost = true;
      open = false;
    }
    return open;
  }
  bool connect(const char* id, const char* user, const char* password, const char* topic, uint8_t qos, bool retain,
               const char* message) {
    printf("connect %s %s %s %s %d %d %s\n", id, user, password, topic, qos, retain, message);
    return open = true;
  }
  int state() { return -1; }
  bool publish(const char* topic, const char* payload) {
    printf("publish %s %s\n", topic, payload);
    return true;
  }
};
