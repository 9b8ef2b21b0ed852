// The doctor in WSL, where there is no session bus, and all that WSL can lack.
import { beforeEach, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { INTEROP_FOLDER, usePlayedWsl } from "../../../fakes/play_wsl.ts";
import { CLIENT_ID, useStage } from "../../../fixture.ts";
import { ownRuntimePath } from "../../../runtimes/runtime_paths.ts";
import { denoRun } from "../../../tools/deno_command.ts";
import { MSAL_PROXY } from "../../../tools/wsl_machine.ts";

const LATCHKEY = fileURLToPath(new URL("../../../../bin/latchkey.ts", import.meta.url));
/** An app that gets a token, and keeps nothing. */
const WELL = `--client-id ${CLIENT_ID} --store memory`;
const stage = useStage({ broker: {} }), { behave } = stage;
const { play, folder } = usePlayedWsl();
beforeEach(() => behave());

interface Row {
  readonly id: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly fix?: string;
}

/** The report by the checks' ids, with the exit code. */
async function report(line = "", program: readonly string[] = ownRuntimePath().program(), version = "2.5.9") {
  const [command = "", ...args] = [...program, LATCHKEY, "doctor", "--format", "json"];
  const child = spawn(command, [...args, ...line.split(" ").filter(Boolean)], {
    stdio: ["ignore", "pipe", "inherit"],
    // No test asks Microsoft's servers for the time.
    env: { ...process.env, HTTPS_PROXY: "http://127.0.0.1:1", HOME: folder(), WSL_VERSION: version },
  });
  const ended = once(child, "close"), text = (await child.stdout.toArray()).join("");
  const [code] = await ended;
  const rows: readonly Row[] = JSON.parse(text).checks;
  const failed = rows.filter(({ ok }) => !ok);
  return { code, failed, ids: rows.map(({ id }) => id), of: Object.fromEntries(rows.map((row) => [row.id, row])) };
}

describe("latchkey doctor in WSL", () => {
  test("says that a cache on a drive of Windows' is slow, and breaks locks", async () => {
    const { code, of } = await report(`--client-id ${CLIENT_ID} --cache-file /mnt/c/Users/jane/cache.json`);
    expect({ code, row: of.token_cache }).toEqual({
      code: 0,
      row: {
        ...{ id: "token_cache", ok: true, fix: expect.stringContaining("Linux' own file system") },
        detail: expect.stringMatching(
          /^nothing is stored yet.*\/mnt\/c\/Users.*on a Windows drive.*locks do not hold$/,
        ),
      },
    });
  });

  test("finds nothing wrong, and looks at no session bus", async () => {
    const { code, failed, ids, of } = await report(WELL);
    expect(ids).toEqual([
      ...[
        "platform",
        "runtime",
        "profile",
        "clock",
        "broker",
        "wsl",
        "redirect_uri",
        "accounts",
        "silent_token",
        "network",
      ],
      "token_cache",
    ]);
    expect({ code, failed }).toEqual({ code: 0, failed: [] });
    expect(of.platform!.detail).toContain("WSL");
    expect(of.broker).toMatchObject({ ok: true, detail: "wsl broker, version unknown" });
    expect(of.wsl).toEqual({ id: "wsl", ok: true, detail: `WSL 2.5.9, ${MSAL_PROXY}, WSL_INTEROP is not set` });
    expect(of.redirect_uri!.detail).toContain(`ms-appx-web://Microsoft.AAD.BrokerPlugin/${CLIENT_ID}`);
    expect(of.redirect_uri!.detail).toContain("http://localhost");
    expect(of.accounts!.detail).toBe("jane@contoso.com");
    expect(of.silent_token!.ok).toBe(true);
  });

  test("says that the window needs a newer one", async () => {
    const { code, failed, of } = await report(WELL, undefined, "");
    expect({ code, failed }).toEqual({ code: 0, failed: [] });
    expect(of.wsl).toMatchObject({ ok: true, detail: expect.stringMatching(/^WSL 2\.3\.26, /) });
    expect(of.wsl!.fix).toMatch(/^Update WSL: .*, if no sign-in window appears$/);
  });

  test("says which socket is taken where the environment's is gone", async () => {
    const path = `${INTEROP_FOLDER}/${process.pid}_interop`, server = createServer().listen(path);
    await once(server, "listening");
    play({ interop: `${INTEROP_FOLDER}/4194300_interop` });
    expect((await report()).of.wsl!.detail).toContain(`${path} is used instead`);
    server.close();
  });

  test.each<[wslinfo: string, detail: RegExp, fix: RegExp]>([
    ["old", /wslinfo does not know --msal-proxy-path/, /wsl --update/],
    ["nonsense", /returned no path of a Windows program/, /wsl --update/],
    ["gone", /lost its connection to Windows/, /WSL_INTEROP/],
    ["hangs", /did not end within 3000 ms/, /wsl --shutdown/],
  ])("says how to fix it when wslinfo is, or does: %s", async (wslinfo, detail, fix) => {
    play({ wslinfo });
    await stage.broker.kill();
    const { code, of } = await report();
    await stage.broker.start();
    expect(code).toBe(1);
    for (const row of [of.broker!, of.wsl!]) {
      expect({ id: row.id, ok: row.ok }).toEqual({ id: row.id, ok: false });
      expect(row.detail).toMatch(detail);
      expect(row.fix!).toMatch(fix);
    }
  });

  test("says when the broker on the session bus is used, and why Windows' is not", async () => {
    play({ wslinfo: "old" });
    const { code, failed, of } = await report(WELL);
    expect({ code, failed }).toEqual({ code: 0, failed: [] });
    expect(of.broker).toMatchObject({ ok: true, detail: expect.stringMatching(/^linux broker, version 2\.5\.2/) });
    expect(of.wsl).toMatchObject({ ok: true, fix: expect.stringContaining("wsl --update") });
    expect(of.wsl!.detail).toMatch(/does not know --msal-proxy-path .*; the linux broker is used instead$/);
  });

  test("says where Windows' drive is missing, and where interop is off", async () => {
    await stage.broker.kill();
    play({ path: `${folder()}/none.exe` });
    const missing = await report();
    expect(missing.of.wsl).toMatchObject({ ok: false, detail: expect.stringContaining("there is no such program") });
    expect(missing.of.wsl!.fix).toContain("[automount]");
    play({ proxy: "ping exit" });
    const off = await report();
    await stage.broker.start();
    expect(off.of.wsl).toMatchObject({ ok: false, detail: expect.stringContaining("interop seems to be off") });
    expect(off.of.wsl!.fix).toContain("[interop]");
  });

  test("leaves WSL alone where no broker is asked for", async () => {
    play({ wslinfo: "old" });
    expect((await report("--broker never")).of.wsl).toMatchObject({
      ok: true,
      detail: expect.stringMatching(/no broker/),
    });
  });

  if (ownRuntimePath().name === "WSL, Deno") {
    test("says what Deno has to permit", async () => {
      const { of } = await report("", [...denoRun(), "--allow-sys=osRelease"]);
      expect(of.broker).toMatchObject({ ok: false, fix: expect.stringContaining('--allow-run="/usr/bin/wslinfo,') });
      expect(of.wsl).toMatchObject({ ok: true, fix: expect.stringContaining('--allow-run="/usr/bin/wslinfo,') });
    });
  }
});
