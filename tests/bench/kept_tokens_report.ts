// Whole processes that find a token in a cache: ours and MSAL's on the same file, and ours with encrypted files.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileByDeno } from "../../build/executable.ts";
import { targetNamed } from "../../build/targets.ts";
import { fileStore } from "../../mod.ts";
import { denoRun } from "../tools/deno_command.ts";
import { findTool, MSAL_PYTHON } from "../tools/find_tool.js";
import { measureInTurn } from "./measure_process.ts";
import { markdownTable, median, range } from "./report.ts";
import { installCommand, withoutExecutable } from "./start_up_report.ts";

const CLIENT_ID = "11111111-2222-4333-8444-555555555555";
const TENANT = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
const HOST = "login.microsoftonline.com";
const SCOPE = "Scope0.Read";
const TOKENS_PER_ACCOUNT = 10;
const TOKEN_LENGTH = 1_600;
/** Of a thousand accounts the one that is asked for: in the middle of the file. */
const ACCOUNT_OF_MANY = 500;

type Environment = Readonly<Record<string, string | undefined>>;

/** How a program is told where the cache is, and which account is meant. */
interface Program {
  readonly name: string;
  readonly accounts: number;
  readonly command: readonly string[];
}

/** A way to start the command line. */
type Latchkey = readonly [name: string, command: readonly string[]];

/** What a token costs that is kept, with one account and with a thousand. */
export async function keptTokensReport(env: Environment, rounds: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "latchkey-bench-"));
  try {
    const byDeno = [...denoRun(), ...permissions(folder)], executable = join(folder, "latchkey");
    const latchkeys: Latchkey[] = [
      ["", [...byDeno, "bin/latchkey.ts"]],
      [" (npm package)", [...byDeno, await installCommand(folder)]],
    ];
    let note = "";
    try {
      await compileByDeno({ target: targetNamed(), output: executable });
      latchkeys.push([" (executable)", [executable]]);
    } catch (error) {
      note = withoutExecutable(error);
    }
    const empty = [...denoRun(), "tests/bench/nothing.ts"];
    const programs: Program[] = [{ name: "empty Deno", accounts: 0, command: empty }];
    for (const accounts of [1, 1_000]) programs.push(...await programsWith(accounts, folder, latchkeys));
    const costs = measureInTurn(programs.map(({ command }) => command), env, rounds);
    return tableOf(programs, costs.map((each) => each.map(({ wallMs }) => wallMs))) + note;
  } finally {
    await rm(folder, { recursive: true });
  }
}

function tableOf(programs: readonly Program[], walls: readonly (readonly number[])[]): string {
  const medians = walls.map(median);
  const of = (accounts: number, name: string): number =>
    medians[programs.findIndex((one) => one.accounts === accounts && one.name === name)] ?? NaN;
  const rows = programs.map(({ name, accounts }, index) => {
    const faster = Math.min(of(accounts, "msal for Python"), of(accounts, "@azure/msal-node"));
    const ratio = (base: number): string => Number.isNaN(base) ? "" : (medians[index]! / base).toFixed(2);
    return [
      ...[name, accounts === 0 ? "" : String(accounts), medians[index]!.toFixed(1), range(walls[index]!)],
      ...[ratio(medians[0]!), ratio(faster), name.includes("encrypted") ? ratio(of(1, name)) : ""],
    ];
  });
  const head = ["whole process, one token that is kept", "accounts", "median ms", "min–max"];
  return markdownTable([...head, "× empty Deno", "× the faster MSAL", "× one account"], rows) +
    "\ntargets: ≤ 0.25 × the faster MSAL with 1 account, ≤ 0.6 × with 1,000 (10,000 tokens, 25 MB)\n";
}

async function programsWith(
  accounts: number,
  folder: string,
  latchkeys: readonly Latchkey[],
): Promise<readonly Program[]> {
  const number = accounts === 1 ? 0 : ACCOUNT_OF_MANY, username = `person${number}@contoso.com`;
  const plain = join(folder, `plain-${accounts}.json`), sealed = join(folder, `sealed-${accounts}`);
  const documents = Array.from({ length: accounts }, (_, number) => documentOf(number));
  await writeFile(plain, JSON.stringify(merged(documents)), { mode: 0o600 });
  const store = fileStore({ folder: join(sealed, "latchkey"), keyLocation: "file" });
  await store.update(idOf(number), () => JSON.stringify(merged(documents)));
  const asked = ["token", "--client-id", CLIENT_ID, "--broker", "never", "--scope", SCOPE, "--account", username];
  const inPython = ["env", `PYTHONPATH=${MSAL_PYTHON}`, "python3", "tests/bench/kept_token.py"];
  const inNode = [findTool("node"), "tests/bench/kept_token.mjs"];
  const commands: readonly (readonly [name: string, command: readonly string[]])[] = [
    ...latchkeys.flatMap(([name, command]): Latchkey[] => [
      [`latchkey token${name}, the shared file`, [...command, ...asked, "--cache-file", plain]],
      [`latchkey token${name}, encrypted file`, ["env", `XDG_STATE_HOME=${sealed}`, ...command, ...asked]],
    ]),
    ["msal for Python", [...inPython, plain, CLIENT_ID, SCOPE, username]],
    ["@azure/msal-node", [...inNode, plain, CLIENT_ID, SCOPE, idOf(number)]],
  ];
  return commands.map(([name, command]) => ({ name, accounts, command }));
}

/** What the programs need and no more: Deno asks about each permission at each use. */
function permissions(folder: string): readonly string[] {
  return [`--allow-read=${folder}`, `--allow-write=${folder}`, "--allow-sys=uid", "--allow-env=HOME,XDG_STATE_HOME"];
}

function idOf(number: number): string {
  return `11111111-1111-4111-8111-${String(number).padStart(12, "0")}.${TENANT}`;
}

type Sections = Record<"AccessToken" | "RefreshToken" | "IdToken" | "Account" | "AppMetadata", Record<string, unknown>>;

/** What MSAL for Python keeps of an account, which both MSALs find. */
function documentOf(number: number): Sections {
  const home_account_id = idOf(number), holder = { home_account_id, environment: HOST, client_id: CLIENT_ID };
  const now = Math.floor(Date.now() / 1000), expires_on = String(now + 24 * 3600);
  const tokens = Array.from({ length: TOKENS_PER_ACCOUNT }, (_, index) => {
    const target = `Scope${index}.Read`, secret = `${number}-${index}-`.padEnd(TOKEN_LENGTH, "x");
    const key = `${home_account_id}-${HOST}-accesstoken-${CLIENT_ID}-${TENANT}-${target}`.toLowerCase();
    const times = { cached_at: String(now), expires_on, extended_expires_on: expires_on };
    const kind = { credential_type: "AccessToken", token_type: "Bearer", realm: TENANT };
    return [key, { ...holder, ...kind, ...times, target, secret }];
  });
  const record = {
    ...{ home_account_id, environment: HOST, realm: TENANT, local_account_id: home_account_id.split(".")[0] },
    ...{ username: `person${number}@contoso.com`, authority_type: "MSSTS", account_source: "authorization_code" },
  };
  return {
    AccessToken: Object.fromEntries(tokens),
    RefreshToken: {
      [`${home_account_id}-${HOST}-refreshtoken-${CLIENT_ID}--`]: {
        ...holder,
        ...{ credential_type: "RefreshToken", secret: "r".repeat(1_000) },
      },
    },
    IdToken: {},
    Account: { [`${home_account_id}-${HOST}-${TENANT}`]: record },
    AppMetadata: { [`appmetadata-${HOST}-${CLIENT_ID}`]: { client_id: CLIENT_ID, environment: HOST } },
  };
}

/** MSAL's one document of many. */
function merged(documents: readonly Sections[]): Sections {
  const sections = Object.keys(documents[0]!) as (keyof Sections)[];
  return Object.fromEntries(
    sections.map((section) => [section, Object.assign({}, ...documents.map((document) => document[section]))]),
  ) as Sections;
}
