// The demonstration's second half: a sign-in in the browser, at a real OpenID provider on this machine.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { denoRun } from "./tools/deno_command.ts";
import { findTool } from "./tools/find_tool.js";
import { startOidcProvider } from "./tools/start_oidc_provider.ts";

/** How the demonstration shows a command. */
export interface Show {
  print(text: string): void;
  /** Shows a command and what it printed, in the form that `shorten` gives it; `undefined` when it failed. */
  show(
    run: { readonly command: readonly string[]; readonly environment: Readonly<Record<string, string | undefined>> },
    args: readonly string[],
    shorten: (stdout: string) => string,
  ): Promise<string | undefined>;
}

/** What the browser leaves behind. */
interface Visit {
  readonly browser: string;
  readonly text: string;
}

/** Shows it. */
export async function demonstrateWithoutBroker(
  { print, show }: Show,
  shorten: (json: string) => string,
): Promise<void> {
  beQuiet();
  await using provider = await startOidcProvider();
  const folder = mkdtempSync(join(tmpdir(), "latchkey-demo-")), file = join(folder, "visit.json");
  try {
    const bun = findTool("bun"), script = fileURLToPath(new URL("demo_browser.ts", import.meta.url));
    const permissions = [
      ...["--allow-net=127.0.0.1,[::1]", `--allow-run=${bun}`, "--allow-env=BROWSER,HOME,XDG_STATE_HOME"],
      ...[`--allow-read=${folder}`, `--allow-write=${folder}`, "--allow-sys=uid"],
    ];
    const [deno, ...options] = [...denoRun(), ...permissions, "bin/latchkey.ts"];
    print(
      "\nAnd without a broker: a sign-in in the browser (authorization code and PKCE). The provider is a real one, oidc-provider,\n" +
        "started on this machine for this demonstration; the person is made up, and so is what the token opens. The browser is\n" +
        "told by $BROWSER, and signs in by itself. Here latchkey is short for this:\n",
    );
    print(`    deno ${options.join(" \\\n      ")}\n`);
    const BROWSER = `${bun} ${script} ${file}`,
      run = {
        command: [deno!, ...options],
        environment: { ...process.env, BROWSER, DISPLAY: undefined, XDG_STATE_HOME: folder },
      };
    const app = ["--client-id", provider.clientId, "--authority", provider.url, "--scope", "api.read"];
    if (await show(run, ["login", ...app], (text) => text) === undefined) return;
    const { browser, text } = await visitOf(file);
    print(`What the person saw at last, in ${browser}:\n`);
    print(`${text.trim().split(/\s*\n\s*/).map((line) => `    ${line}`).join("\n")}\n`);
    print(
      "The sign-in is kept in encrypted files (here in a folder that this demonstration removes): no window any more.\n",
    );
    await show(run, ["token", ...app, "--interactive", "never", "--format", "json"], shorten);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The browser has the last page a little later than the command has its token. */
async function visitOf(file: string): Promise<Visit> {
  while (!existsSync(file)) await Bun.sleep(5);
  return JSON.parse(readFileSync(file, "utf8"));
}

/** The provider warns its operators, who are nobody here, that it is none for production. */
function beQuiet(): void {
  // deno-lint-ignore no-console
  console.warn = console.info = () => {};
  process.noDeprecation = true;
}
