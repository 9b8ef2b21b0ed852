import { expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { readFileSync } from "node:fs";
import { openStage } from "./fixture.ts";
import { PALETTES } from "./pictures/palette.ts";
import { sessionLines, sessionPicture } from "./pictures/session_picture.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
/** A whole token, and as little of one as would still be too much. */
const WHOLE_TOKEN = /eyJ[\w-]+\.[\w-]+\./, PART_OF_TOKEN = /eyJ/;

test("the demonstration says that it stands in where the session has no broker", async () => {
  const { stdout, status } = await runDemo(undefined);
  expect(status, stdout).toBe(0);
  expect(stdout).toContain("STANDS IN for Microsoft's");
  expect(stdout).toContain("$ latchkey accounts --client-id azure-cli\njane@contoso.com\t");
  expect(stdout).toContain(`"upn": "jane@contoso.com"`);
  expect(stdout).toMatch(/in (Chromium|a script):\n\n +Signed in[^]*"token_source": "cache"/);
  expect(stdout).toContain("You are signed in as jane@contoso.com");
  expect(stdout).not.toMatch(WHOLE_TOKEN);
  for (const [name, palette] of Object.entries(PALETTES)) {
    const kept = readFileSync(`${root}docs/images/session_${name}.svg`, "utf8");
    expect(alike(sessionPicture(sessionLines(stdout), palette)), "npm run pictures draws it anew").toBe(alike(kept));
  }
  expect(stdout).not.toContain("\x1b");
});

test("the demonstration shows nothing of the tokens of the session's own broker", async () => {
  await using stage = await openStage({ broker: {} });
  const { stdout, status } = await runDemo(stage.bus.address);
  expect(status, stdout).toBe(0);
  expect(stdout).toContain("This session has a broker");
  expect(stdout).toContain(`"upn": "jane@contoso.com"`);
  expect(stdout.slice(0, stdout.indexOf("And without a broker"))).not.toMatch(PART_OF_TOKEN);
});

test("the demonstration fails where a command fails", async () => {
  const replies = { acquireTokenSilently: { kind: "broker_error", status: 2 } } as const;
  await using stage = await openStage({ broker: { replies } });
  const { stdout, status } = await runDemo(stage.bus.address);
  expect(stdout).toContain("latchkey ended with exit code 3.");
  expect(status).toBe(1);
});

/** A picture less the letters that differ from run to run: times, and the id of a request. */
function alike(picture: string): string {
  return picture.replaceAll(/[\da-f]{8}-[\da-f-]{27}/g, "ID")
    .replaceAll(/expires_(in|on)&quot;: \d+/g, "expires_$1");
}

async function runDemo(address: string | undefined): Promise<{ stdout: string; status: number }> {
  const child = Bun.spawn([process.execPath, "tests/demo.ts"], {
    cwd: root,
    env: { ...process.env, DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: undefined, FORCE_COLOR: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { stdout: await new Response(child.stdout).text(), status: await child.exited };
}
