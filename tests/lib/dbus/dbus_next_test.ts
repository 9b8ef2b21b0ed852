import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CHECKED_VERSION } from "../../../lib/dbus/dbus_next.ts";

const read = (path: string) => JSON.parse(readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8"));

// latchkey takes over the socket of dbus-next, by parts that no version promises to keep: check these when this fails.
test("dbus-next is of the version whose undocumented parts were checked", () => {
  expect(read("node_modules/dbus-next/package.json")).toMatchObject({
    name: "@jellybrick/dbus-next",
    version: CHECKED_VERSION,
  });
  const range = `npm:@jellybrick/dbus-next@^${CHECKED_VERSION}`;
  expect(read("package.json").dependencies["dbus-next"]).toBe(range);
});
