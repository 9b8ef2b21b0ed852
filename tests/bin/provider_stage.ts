/** A real OpenID provider, and a browser that is told by `BROWSER` and signs jane in at it. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findTool } from "../tools/find_tool.js";
import { type OidcProvider, startOidcProvider } from "../tools/start_oidc_provider.ts";
import type { Home } from "../fixture.ts";
import { type Run, runProgram } from "./run_latchkey.ts";
import { LATCHKEY_ON_BUN } from "./tested_latchkey.ts";

/** Where the command line runs at a provider. */
export interface RunPlace {
  readonly home: Home;
  /** What starts it. @default the command line on Bun */
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

const BUN = findTool("bun"), SCRIPT = fileURLToPath(new URL("../tools/play_browser.ts", import.meta.url));

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
  let pages = 0;
  const appWordsOf = (line: string) => [...line.trim().split(" "), "--client-id", clientId, "--authority", url];
  const wordsOf = (line: string) => [...appWordsOf(line), "--scope", "api.read"];
  const playedBrowser = () => {
    const page = join(folder, `page-${++pages}`);
    return { BROWSER: `${BUN} ${SCRIPT} ${page}`, page };
  };
  const latchkey = (words: readonly string[], { home, program = LATCHKEY_ON_BUN, env = {} }: RunPlace) => {
    const { BROWSER } = playedBrowser();
    return runProgram([...program, ...words], { ...home.env, BROWSER, ...env });
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
      await provider[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
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
