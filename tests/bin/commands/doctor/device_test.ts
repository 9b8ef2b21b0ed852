// The device's registration. The outputs are in the form that Microsoft documents for dsreg; the programs are scripts.
import { expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { useStage } from "../../../fixture.ts";
import { withWindowFix } from "../../../../bin/commands/doctor/broker.ts";
import { API_WORDS, hintOf } from "../../../../lib/remedies.ts";
import { type Check, type CheckContext, ok, runChecks } from "../../../../bin/commands/doctor/check.ts";
import { deviceRegistration, judgeDevice } from "../../../../bin/commands/doctor/device.ts";

const NOW = Date.UTC(2026, 10, 24, 12);
const ID = "a1b2c3d4-1111-4222-8333-444455556666", TENANT = "11111111-1111-1111-1111-111111111111";

function statusText(fields: Readonly<Record<string, string>> = {}): string {
  const rows = {
    "Device Registration Status": "Registered",
    "Device ID": ID,
    "Tenant ID": TENANT,
    "Tenant Name": "contoso.com",
    "PRT Present": "YES",
    "PRT Cached At": "2026-11-20 08:30:15 UTC",
    "PRT Expires On": "2026-12-04 08:30:15 UTC",
    "PRT Age": "4.25 hours",
    "Broker Version": "2.5.2",
    ...fields,
  };
  const line = "-".repeat(65);
  return `Device State\n${line}\n${
    Object.entries(rows).map(([name, value]) => `${name.padEnd(28)} : ${value}\n`).join("")
  }`;
}

const context = { words: () => API_WORDS } as unknown as CheckContext;

function judge(stdout: string, code = 0, stderr = "") {
  const { fix, ...finding } = judgeDevice({ code, stdout, stderr }, NOW);
  return { ...finding, fix: fix && hintOf(fix) };
}

test("judgeDevice() tells the registration, the PRT and its end", () => {
  expect(judge(statusText())).toEqual({
    state: "ok",
    detail: `registered in contoso.com as ${ID}, with a primary refresh token (PRT) until 2026-12-04T08:30:15.000Z`,
    fix: undefined,
  });
  const coloured = statusText({
    "PRT Present": "\x1b[32mYES\x1b[0m",
    "PRT Expires On": "\x1b[1;33m2026-11-25 01:00:00 UTC\x1b[m",
  });
  expect(judge(coloured.replaceAll("\n", "\r\n"))).toMatchObject({
    state: "ok",
    detail: expect.stringMatching(/until 2026-11-25T01:00:00\.000Z$/),
    fix: expect.stringContaining("intune-portal"),
  });
});

test.each([
  [{ "Device Registration Status": "Not Registered" }, "the device is not registered", /^Register the device/],
  [{ "PRT Present": "NO" }, "without a primary refresh token (PRT)", /^Sign in to the Intune app/],
  [{ "PRT Expires On": "2026-11-24 11:59:59 UTC" }, "ended 2026-11-24T11:59:59.000Z", /clock and the network/],
])("judgeDevice() fails for %j", (fields, detail, fix) => {
  expect(judge(statusText(fields))).toMatchObject({
    state: "failed",
    detail: expect.stringContaining(detail),
    fix: expect.stringMatching(fix),
  });
});

test.each([
  ["", "unknown"],
  ["Device Registration Status : \n", "unknown"],
  [statusText({ "Device Registration Status": "Pending" }), "unknown"],
  [statusText({ "PRT Present": "perhaps" }), "ok"],
  [statusText({ "PRT Expires On": "2026-99-99 08:30:15 UTC" }), "ok"],
  [statusText({ "PRT Expires On": "tomorrow" }), "ok"],
  [`${":".repeat(100_000)}\n${"a ".repeat(100_000)}`, "unknown"],
])("judgeDevice() survives other output (%#)", (text, state) => {
  expect(judge(text).state).toBe(state as "ok");
});

test.each(
  [
    [1, "unknown", "does not know --status"],
    [2, "failed", "cannot reach the device's broker: no broker"],
    [3, "failed", "query failed: no broker"],
    [4, "unknown", "lacks permission"],
    ...[5, 6, 7, 8, 127].map((code) => [code, "unknown", `exit code ${code}`] as const),
  ] as const,
)("judgeDevice() takes the exit code %d for %s", (code, state, detail) => {
  const finding = judge(statusText(), code, "no broker\nmore");
  expect(finding).toMatchObject({ state, detail: expect.stringContaining(detail) });
  if (state === "failed") expect(finding.fix).toContain("microsoft-identity-device-broker");
});

const stage = useStage();

async function examine(script: string | undefined, silentToken: "ok" | "failed" = "failed") {
  const path = join(stage.folder, crypto.randomUUID());
  if (script !== undefined) {
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o700);
  }
  const earlier: Check = { id: "silent_token", limitMs: 1_000, run: () => ({ ...ok(""), state: silentToken }) };
  const results = await runChecks([earlier, deviceRegistration(path)], context);
  return results.find(({ id }) => id === "device")!;
}

test("deviceRegistration() runs dsreg --status, without colours", async () => {
  const script = `[ "$*" = --status ] && [ "$NO_COLOR" = 1 ] && cat <<'END'\n${
    statusText({ "PRT Present": "NO" })
  }\nEND`;
  const findings = [await examine(script), await examine(script, "ok")];
  expect(findings).toMatchObject([
    { state: "failed", detail: expect.stringContaining("without a primary") },
    { state: "unknown", detail: expect.stringContaining("silent_token succeeded without it") },
  ]);
});

test("deviceRegistration() is no failure where there is no dsreg, or one that cannot be run", async () => {
  expect(await examine(undefined)).toMatchObject({ state: "unknown", detail: expect.stringContaining("from 2.5 on") });
  const path = join(stage.folder, "no-program");
  writeFileSync(path, "");
  const [result] = await runChecks([deviceRegistration(path)], context);
  expect(result).toMatchObject({ state: "unknown", detail: expect.stringContaining("EACCES") });
});

test("deviceRegistration() does not wait for a dsreg that hangs", async () => {
  const check = deviceRegistration(join(stage.folder, "hangs"));
  writeFileSync(join(stage.folder, "hangs"), "#!/bin/sh\nexec sleep 1000\n");
  chmodSync(join(stage.folder, "hangs"), 0o700);
  const [result] = await runChecks([{ ...check, limitMs: 300 }], context);
  expect(result!.state).toBe("failed");
});

test("withWindowFix() knows the window on Wayland with NVIDIA's driver", () => {
  const fixOf = (variables: Readonly<Record<string, string>>) =>
    hintOf(withWindowFix(ok("d", "a"), { source: "systemd", variables: new Map(Object.entries(variables)) }).fix!);
  expect(fixOf({ WAYLAND_DISPLAY: "wayland-0" })).toMatch(
    /^a\. If the sign-in window .*Environment=GDK_BACKEND=x11 WEBKIT_DISABLE_DMABUF_RENDERER=1, then systemctl --user restart/,
  );
  expect(fixOf({ WAYLAND_DISPLAY: "wayland-0", GDK_BACKEND: "x11" })).toContain("Environment=WEBKIT_DISABLE_DMABUF_");
  expect(fixOf({ DISPLAY: ":0" })).toBe("a");
  const set = { GDK_BACKEND: "x11", WEBKIT_DISABLE_DMABUF_RENDERER: "1" };
  expect(fixOf({ WAYLAND_DISPLAY: "wayland-0", ...set })).toBe("a");
});
