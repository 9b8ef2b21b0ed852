import { expect, test } from "bun:test";
import { timeText } from "../../../bin/cli/sign_in.ts";

test.each([[300_000, "5:00"], [299_001, "5:00"], [299_000, "4:59"], [60_000, "1:00"], [1, "0:01"], [0, "0:00"], [
  -5000,
  "0:00",
], [3_600_000, "60:00"]])("timeText(%d) is %s", (milliseconds, text) => {
  expect(timeText(milliseconds)).toBe(text);
});
