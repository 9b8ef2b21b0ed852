import { expect, test } from "bun:test";
import { checks, complaintOf } from "../tools/checks.ts";

const TIMEOUT_MS = 120_000;

for (const check of checks) {
  test(`${check.name} finds nothing wrong`, async () => {
    expect(await complaintOf(check)).toBeUndefined();
  }, TIMEOUT_MS);
}
