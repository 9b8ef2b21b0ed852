import { expect, test } from "bun:test";
import { blockedBy, failed, notChecked, ok } from "../../../../bin/commands/doctor/check.ts";
import { isWell, reportJson, reportText } from "../../../../bin/commands/doctor/doctor.ts";

const SICK = [
  { id: "bus", ...ok("well") },
  { id: "broker", ...failed("gone", "Install it") },
  { id: "accounts", ...failed("none", "Install it") },
  { id: "clock", ...notChecked("no network", "Run deno with --allow-net") },
];

test("reportText() has a line a check, then each advice once", () => {
  expect(reportText(SICK)).toBe(`ok    bus       well
FAIL  broker    gone
FAIL  accounts  none
--    clock     not checked: no network

To fix:
  broker, accounts: Install it

Optional:
  clock: Run deno with --allow-net
`);
});

test("reportText() advises nothing when there is nothing to do", () => {
  expect(reportText([{ id: "bus", ...ok("well") }])).toBe("ok    bus  well\n");
});

test("reportJson() has ok, id, detail, and fix where there is one", () => {
  expect(JSON.parse(reportJson(SICK))).toEqual({
    ok: false,
    checks: [
      { id: "bus", ok: true, detail: "well" },
      { id: "broker", ok: false, detail: "gone", fix: "Install it" },
      { id: "accounts", ok: false, detail: "none", fix: "Install it" },
      { id: "clock", ok: true, detail: "not checked: no network", fix: "Run deno with --allow-net" },
    ],
  });
});

test("a check that another one stands in the way of is not ok, and its advice is not repeated to people", () => {
  const results = [{ id: "broker", ...failed("gone", "Install it") }, { id: "accounts", ...blockedBy("broker") }];
  expect(reportText(results)).toBe(`FAIL  broker    gone
--    accounts  not checked: it needs broker

To fix:
  broker: Install it
`);
  const accounts = { id: "accounts", ok: false, detail: "not checked: it needs broker", fix: "Fix broker first" };
  expect(JSON.parse(reportJson(results)).checks[1]).toEqual(accounts);
  expect(isWell(results.slice(1))).toBe(false);
});

test("isWell() is not troubled by what could not be looked at", () => {
  expect([isWell(SICK), isWell([SICK[0]!, SICK[3]!])]).toEqual([false, true]);
});

test("reports have no character that a terminal obeys", () => {
  const hostile = "a\u001b]0;title\u0007b\r\nc\u202e\u009b";
  const results = [{ id: "x", ...failed(hostile, hostile) }];
  expect(reportText(results)).not.toMatch(/[^\n\x20-\x7e\ufffd]/);
  expect(reportText(results).split("\n")).toHaveLength(5);
  expect(reportJson(results)).not.toMatch(/[^\n\x20-\x7e]/);
  expect(JSON.parse(reportJson(results)).checks[0]).toMatchObject({ detail: hostile, fix: hostile });
});
