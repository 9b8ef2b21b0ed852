// Silent calls of one process over libdbus, with nothing before and nothing behind, in turn: calls COUNT REQUEST prints the
// milliseconds that they took. The reply's JSON is not read.
#include <dbus/dbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NAME "com.microsoft.identity.broker1"

static void ask(DBusConnection *bus, const char *request) {
  const char *version = "0.0", *correlation_id = "11111111-2222-4333-8444-555555555555", *json;
  DBusMessage *call = dbus_message_new_method_call(NAME, "/com/microsoft/identity/broker1",
                                                   "com.microsoft.identity.Broker1", "acquireTokenSilently");
  DBusError error = DBUS_ERROR_INIT;
  dbus_message_append_args(call, DBUS_TYPE_STRING, &version, DBUS_TYPE_STRING, &correlation_id, DBUS_TYPE_STRING,
                           &request, DBUS_TYPE_INVALID);
  DBusMessage *reply = dbus_connection_send_with_reply_and_block(bus, call, 30000, &error);
  if (!reply || !dbus_message_get_args(reply, &error, DBUS_TYPE_STRING, &json, DBUS_TYPE_INVALID)) {
    fprintf(stderr, "%s\n", error.message);
    exit(1);
  }
  dbus_message_unref(call);
  dbus_message_unref(reply);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int count = atoi(argv[1]);
  struct timespec start, end;
  DBusConnection *bus = dbus_bus_get(DBUS_BUS_SESSION, NULL);
  if (!bus) return 1;
  for (int i = 0; i < 100; i++) ask(bus, argv[2]);
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int i = 0; i < count; i++) ask(bus, argv[2]);
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%.3f\n", (end.tv_sec - start.tv_sec) * 1e3 + (end.tv_nsec - start.tv_nsec) / 1e6);
}
