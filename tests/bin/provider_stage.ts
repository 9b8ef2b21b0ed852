/** A real OpenID provider, and a browser that is told by `BROWSER` and signs jane in at it. */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "../tools/find_tool.js";
import { ScriptedBrowser } from "../tools/scripted_browser.ts";
import { type OidcProvider, startOidcProvider } from "../tools/start_oidc_provider.ts";
import type { Home } from "../fixture.ts";
import { runInProcess } from "./run_in_process.ts";
import { type Run, runProgram } from "./run_latchkey.ts";
import { isBuilt, LATCHKEY_ON_BUN } from "./tested_latchkey.ts";

/** Where the command line runs at a provider. */
export interface RunPlace {
  readonly home: Home;
  /** What starts it. @default the command line in this process, or what was built */
  readonly program?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A provider, and what goes with it. */
export interface ProviderStage extends AsyncDisposable, Pick<OidcProvider, "holdAnswer"> {
  readonly url: string;
  readonly clientId: string;
  /** A folder of the test's own. */
  readonly folder: string;
  /** A `BROWSER` that signs jane in, and the file that has its last page. */
  playedBrowser(): { readonly BROWSER: string; readonly page: string };
  /** The words of a command line, with those that name the app. */
  appWordsOf(line: string): readonly string[];
  /** The same, with a scope. */
  wordsOf(line: string): readonly string[];
  /** Runs the command line, with a browser that signs jane in. */
  latchkey(words: readonly string[], place: RunPlace): Promise<Run>;
  /** `latchkey login` for the app and its scope, and so on. */
  login(place: RunPlace, more?: string): Promise<Run>;
  token(place: RunPlace, more?: string): Promise<Run>;
  accounts(place: RunPlace, more?: string): Promise<Run>;
  logout(place: RunPlace, more?: string): Promise<Run>;
}

const BUN = findTool("bun");
/** What `BROWSER` names: it leaves the URL for the stage, whose browser opens it. */
const LEAVE_URL = `const fs = require("node:fs");
const [file, url] = process.argv.slice(2);
fs.writeFileSync(file + ".new", url);
fs.renameSync(file + ".new", file + ".url");`;

/** What a sign-in takes on Deno, the provider being on loopback as well. */
export const LOOPBACK = "--allow-net=127.0.0.1,[::1]";
export const BROWSER_ENVIRONMENT = "--allow-env=BROWSER,DISPLAY,WAYLAND_DISPLAY,SSH_CONNECTION";
export const RUN_BROWSER = `--allow-run=${BUN},true`;
export const SIGN_IN_PERMISSIONS: readonly string[] = [LOOPBACK, BROWSER_ENVIRONMENT, RUN_BROWSER];

/** Who signs in, as `latchkey accounts` prints it. */
export const JANE_LINE = "jane@contoso.com\tjane\tJane Doe\t\n";

/** Starts a provider. */
export async function startProviderStage(): Promise<ProviderStage> {
  const provider = await startOidcProvider(), { url, clientId } = provider;
  const folder = mkdtempSync(join(tmpdir(), "provider-stage-"));
  const script = join(folder, "browser.js");
  writeFileSync(script, LEAVE_URL);
  let pages = 0;
  const watching = watch(folder, (_event, name) => {
    if (name?.endsWith(".url") && existsSync(join(folder, name))) void visit(join(folder, name));
  });
  const appWordsOf = (line: string) => [...line.trim().split(" "), "--client-id", clientId, "--authority", url];
  const wordsOf = (line: string) => [...appWordsOf(line), "--scope", "api.read"];
  const playedBrowser = () => {
    const page = join(folder, `page-${++pages}`);
    return { BROWSER: `${BUN} ${script} ${page}`, page };
  };
  const latchkey = async (words: readonly string[], { home, program, env = {} }: RunPlace) => {
    const all = { ...home.env, BROWSER: playedBrowser().BROWSER, ...env };
    if (program || isBuilt) return await runProgram([...program ?? LATCHKEY_ON_BUN, ...words], all);
    return await runInProcess(words, { env: all });
  };
  return {
    url,
    clientId,
    holdAnswer: provider.holdAnswer,
    folder,
    playedBrowser,
    appWordsOf,
    wordsOf,
    latchkey,
    login: (place, more = "") => latchkey(wordsOf(`login ${more}`), place),
    token: (place, more = "") => latchkey(wordsOf(`token --format json ${more}`), place),
    accounts: (place, more = "") => latchkey(appWordsOf(`accounts ${more}`), place),
    logout: (place, more = "") => latchkey(appWordsOf(`logout ${more}`), place),
    async [Symbol.asyncDispose]() {
      watching.close();
      await provider[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Signs jane in at a URL that a program wanted to be opened, and leaves the text of the last page in the file without `.url`. */
async function visit(file: string): Promise<void> {
  const url = readFileSync(file, "utf8");
  rmSync(file);
  let text = "";
  try {
    await new ScriptedBrowser().open(url, () => false, { login: "jane", password: "x" });
  } catch (error) {
    text = (error as Error).message;
  }
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file.slice(0, -".url".length));
}

/** The exit code, and where the token came from. */
export function sourceOf({ code, stdout }: Run): { readonly code: number; readonly source: unknown } {
  return { code, source: JSON.parse(stdout).token_source };
}

/** The exit code, and the error that is told in JSON. */
export function errorOf({ code, stdout }: Run): { readonly code: number; readonly error: unknown } {
  return { code, error: JSON.parse(stdout).error };
}

/** The last page of a browser: it may have it a little later than the program ends. */
export async function textOf(page: string): Promise<string> {
  while (!existsSync(page)) await Bun.sleep(2);
  return readFileSync(page, "utf8");
}
