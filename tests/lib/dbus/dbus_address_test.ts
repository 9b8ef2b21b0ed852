import { expect, test } from "bun:test";
import { DBusError } from "../../../lib/dbus/bus.ts";
import { unixSockets } from "../../../lib/dbus/socket.ts";

const path = (name: string) => ({ kind: "path", name });

test.each([
  ["unix:path=/run/user/1000/bus", [path("/run/user/1000/bus")]],
  ["unix:guid=0123,path=/tmp/a%20b%3a%c3%a4", [path("/tmp/a b:ä")]],
  ["unix:abstract=/tmp/dbus-1,guid=0123", [{ kind: "abstract", name: "/tmp/dbus-1" }]],
  ["unix:path=/a;tcp:host=contoso.com,port=1;unix:path=/b;", [path("/a"), path("/b")]],
  ["autolaunch:;unix:path=/a", [path("/a")]],
])("unixSockets() reads %p", (address, sockets) => {
  expect<unknown>(unixSockets(address)).toEqual(sockets);
});

test.each([
  [""],
  ["nonsense"],
  ["unix"],
  [":path=/a"],
  ["unix:path"],
  ["unix:=a"],
  ["unix:path="],
  ["unix:path=/a b"],
  ["unix:path=/%zz"],
  ["unix:path=/%ff"],
  ["unix:runtime=yes"],
  ["unix:path=/a;nonsense"],
  ["tcp:host=contoso.com,port=1"],
  ["unixexec:path=/bin/false"],
])("unixSockets() refuses %p", (address) => {
  expect(() => unixSockets(address)).toThrow(DBusError);
});
