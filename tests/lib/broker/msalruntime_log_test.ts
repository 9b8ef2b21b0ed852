import { expect, test } from "bun:test";
import { bestEffortLogger, levelOf } from "../../../lib/broker/msalruntime_addon.ts";

test.each([[1, "debug"], [2, "debug"], [3, "debug"], [4, "warn"], [5, "error"], [6, "error"], [0, "debug"]] as const)(
  "levelOf(%d) is %s",
  (level, name) => {
    expect(levelOf(level)).toBe(name);
  },
);

test("bestEffortLogger() passes lines on, and ignores the logger's errors", () => {
  const lines: string[] = [];
  const log = bestEffortLogger((level, message) => {
    lines.push(`${level} ${message}`);
    throw new Error("disk full");
  });
  log("debug", "a line");
  expect(lines).toEqual(["debug a line"]);
});
