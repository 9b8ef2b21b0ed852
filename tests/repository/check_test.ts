import { expect, test } from "bun:test";
import { checks, complaintOf } from "../tools/checks.ts";

for (const check of checks) {
  test(`${check.name} finds nothing wrong`, async () => {
    expect(await complaintOf(check)).toBeUndefined();
  });
}
