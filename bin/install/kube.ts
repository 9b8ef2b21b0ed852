/**
 * `latchkey kube --install` and `--uninstall`: the user entries of a kubeconfig that make kubectl run latchkey.
 *
 * @module
 */
import { Document, isScalar, isSeq, LineCounter, type Pair, type ParsedNode, parseDocument, type YAMLMap } from "yaml";
import { isObject, type JsonObject } from "../../lib/encoding.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { fileFailure } from "../../lib/files/files.ts";
import { changeSharedFile, placeFile, readPlacedFile, removePlacedFile } from "../../lib/files/placed_file.ts";
import { homeFolder } from "../../lib/files/user_folders.ts";
import { operatingSystem, quoteCommand, readEnvironment } from "../../lib/runtime/host.ts";
import { ownCommand } from "../../lib/runtime/installation.ts";
import { absolutePath, isThere, readTextFile } from "../../lib/runtime/program.ts";
import { PROGRAM } from "../az_shim.ts";
import { unknown, UsageError } from "../cli/command_line.ts";
import { escapeForTerminal, print, say } from "../cli/output.ts";

/** The `exec` section to write. */
interface Exec {
  readonly apiVersion: string;
  readonly interactiveMode: "Never" | "IfAvailable";
  /** Returns the command for a cluster, whose entry may already know its ids, as kubelogin's does. */
  readonly commandFor: (known: KnownIds) => readonly string[];
}

/** Ids in the arguments of kubelogin, which names them as latchkey does or with `-id`. */
interface KnownIds {
  readonly serverId?: string | undefined;
  readonly tenant?: string | undefined;
}

/** Keys of a user that sign in, and exclude `exec`. The others (`as`, `extensions`, …) stay. */
const CREDENTIALS = [
  ...["client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile"],
  ...["username", "password", "auth-provider", "exec"],
];

/**
 * Makes clients of a context's cluster run latchkey: changes the context's user, and no more of the kubeconfig. What signed the
 * user in before is kept in a file of its own. Prints what was written.
 *
 * @throws {UsageError} if there is no such context.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if a kubeconfig cannot be read or written.
 */
export async function installExec(context: string, exec: Exec): Promise<void> {
  const files = await readKubeconfigs(), { user, file } = userOf(files, context);
  const sharing = contextsOf(files, user).filter((name) => name !== context);
  let entry = "", before: readonly string[] = [], isDone = false;
  await changeSharedFile(file.path, async (text) => {
    const config = parseKubeconfig(file.path, text), old = credentialsIn(config, user);
    const own = old.exec && isOwn(old.exec), known = own ? {} : knownIds(old.exec);
    const [command = "", ...args] = exec.commandFor(known), { env } = own && old.exec ? old.exec : { env: undefined };
    const section = {
      apiVersion: exec.apiVersion,
      command,
      args,
      ...(env === undefined ? {} : { env }),
      interactiveMode: exec.interactiveMode,
      provideClusterInfo: false,
    };
    entry = yamlOf({ users: [{ name: user, user: { exec: section } }] });
    isDone = JSON.stringify(old.exec) === JSON.stringify(section) && old.keys.length === 1;
    if (isDone) return undefined;
    before = old.keys.filter((key) => key !== "exec" || !own)
      .map((key) => key === "exec" ? `exec of ${escapeForTerminal(String(old.exec?.command))}` : key);
    if (before.length > 0) await keep(file.path, user, config);
    return withUser(config, user, { ...old.others, exec: section });
  });
  print(entry.split("\n").map(escapeForTerminal).join("\n"));
  const undo = quoteCommand(["latchkey", "kube", "--uninstall", "--context", context]);
  const { path } = file, of = `the user ${JSON.stringify(user)} in ${path}`;
  say(`${isDone ? "had already written" : "wrote"} ${of}; the context ${context} uses it. To undo: ${undo}`);
  if (before.length > 0) {
    say(`what it had before (${before.join(", ")}) is in ${keptPath(path)}; --uninstall brings it back`);
  }
  if (sharing.length > 0) {
    say(`other contexts have the same user, and now run latchkey, too: ${sharing.join(", ")}`);
  }
}

/**
 * Removes what {@linkcode installExec} wrote, for the user of a context or for all, and brings back what was there before.
 *
 * @throws {UsageError} if there is no such context.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if a kubeconfig cannot be read or written.
 */
export async function uninstallExec(context: string | undefined): Promise<void> {
  const files = await readKubeconfigs(), only = context === undefined ? undefined : userOf(files, context);
  let removed = 0;
  for (const file of only ? [only.file] : files) {
    await changeSharedFile(file.path, async (text) => {
      let config = parseKubeconfig(file.path, text);
      const kept = await readKept(file.path), back: string[] = [];
      for (const user of only ? [only.user] : namesIn(config, "users")) {
        const { exec, others } = credentialsIn(config, user);
        if (!exec || !isOwn(exec)) continue;
        const old = kept && findEntry(kept, "users", user) ? credentialsIn(kept, user) : undefined;
        const whole = old ? { ...others, ...old.credentials } : others;
        config = parseKubeconfig(file.path, withUser(config, user, whole));
        back.push(user);
        print(`${user}\n`);
        const now = old ? `; it has this again: ${old.keys.join(", ")}` : "";
        say(`the user ${JSON.stringify(user)} in ${file.path} no longer runs latchkey${now}`);
      }
      removed += back.length;
      return back.length > 0 ? config.text : undefined;
    }, async () => await forget(file.path));
  }
  if (removed === 0) say("no user of the kubeconfig runs latchkey: nothing to remove");
}

interface Kubeconfig {
  readonly path: string;
  readonly text: string;
  readonly document: Document.Parsed<ParsedNode, true>;
  readonly value: JsonObject;
}

/** The version that kubectl reads, in which `yes` is no text. */
const YAML = { version: "1.1" } as const;
/** Long arguments stay on their line. */
const UNFOLDED = { lineWidth: 0 } as const;

/**
 * Returns the paths of the kubeconfig, in the order in which they count, as kubectl does: those of KUBECONFIG, else the usual one.
 */
export function kubeconfigPaths(variable: string | undefined, system: string, home: () => string): readonly string[] {
  const given = variable?.split(system === "win32" ? ";" : ":").filter(Boolean) ?? [];
  return given.length > 0 ? [...new Set(given)] : [`${home()}/.kube/config`];
}

async function readKubeconfigs(): Promise<readonly Kubeconfig[]> {
  const paths = kubeconfigPaths(readEnvironment("KUBECONFIG"), operatingSystem(), homeFolder).map(absolutePath);
  const there = paths.filter((path) => isThere(path));
  if (there.length === 0) {
    throw new LatchkeyError("configuration", `There is no kubeconfig: ${paths.join(", ")}`, {
      hint: "Get the cluster's first (az aks get-credentials), or set KUBECONFIG",
    });
  }
  return await Promise.all(there.map(readKubeconfig));
}

async function readKubeconfig(path: string): Promise<Kubeconfig> {
  try {
    return parseKubeconfig(path, await readTextFile(path));
  } catch (error) {
    throw fileFailure(error, { doing: "read", path });
  }
}

/** Parses a kubeconfig. Errors quote none of it: it can have secrets. */
function parseKubeconfig(path: string, text: string): Kubeconfig {
  const lines = new LineCounter();
  const document = parseDocument<ParsedNode, true>(text, { ...YAML, lineCounter: lines });
  const [problem] = document.errors;
  if (problem) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw unusable(path, `it is not YAML: ${problem.code} in line ${line}, column ${col}`);
  }
  let value: unknown;
  try {
    value = document.toJS() ?? {};
  } catch {
    throw unusable(path, "its aliases have no end");
  }
  if (isObject(value)) return { path, text, document, value };
  throw unusable(path, "it is not a mapping");
}

function unusable(path: string, why: string): LatchkeyError {
  return new LatchkeyError("configuration", `Cannot use the kubeconfig ${path}: ${why}`, {
    hint: "Correct the file, or name another one in KUBECONFIG",
  });
}

type List = "users" | "contexts";

function entriesOf({ value }: Kubeconfig, list: List): readonly JsonObject[] {
  const entries = value[list];
  return Array.isArray(entries) ? entries.filter(isObject) : [];
}

function findEntry(config: Kubeconfig, list: List, name: string): JsonObject | undefined {
  return entriesOf(config, list).find((entry) => entry.name === name);
}

function namesIn(config: Kubeconfig, list: List): readonly string[] {
  return entriesOf(config, list).map(({ name }) => name).filter((name) => typeof name === "string");
}

function userIn(entry: JsonObject | undefined): unknown {
  return isObject(entry?.context) ? entry.context.user : undefined;
}

/** Returns a context's user, and the file to change: of several that have an entry, the first counts. */
function userOf(files: readonly Kubeconfig[], context: string): { readonly user: string; readonly file: Kubeconfig } {
  const owner = files.find((file) => findEntry(file, "contexts", context));
  if (!owner) {
    const names = files.flatMap((file) => namesIn(file, "contexts")).map(escapeForTerminal);
    const { message } = unknown(`context ${JSON.stringify(context)} in the kubeconfig`, context, names);
    throw new UsageError(`${message}${message.endsWith("?") ? "" : ";"} it has ${names.join(", ") || "none"}`);
  }
  const user = userIn(findEntry(owner, "contexts", context));
  if (typeof user !== "string" || user === "") {
    const fix = quoteCommand(["kubectl", "config", "set-context", context, "--user", "latchkey"]);
    throw new UsageError(`The context ${JSON.stringify(context)} has no user. Give it one: ${fix}`);
  }
  return { user, file: files.find((file) => findEntry(file, "users", user)) ?? owner };
}

function contextsOf(files: readonly Kubeconfig[], user: string): readonly string[] {
  const all = files.flatMap((file) => entriesOf(file, "contexts")).filter((entry) => userIn(entry) === user);
  return [...new Set(all.map(({ name }) => escapeForTerminal(String(name))))];
}

/** The parts of a user: keys that sign in, their values, and the rest. */
function credentialsIn(config: Kubeconfig, name: string) {
  const value = findEntry(config, "users", name)?.user, user = isObject(value) ? value : {};
  const keys = Object.keys(user).filter((key) => CREDENTIALS.includes(key));
  const part = (isWanted: (key: string) => boolean) =>
    Object.fromEntries(Object.entries(user).filter(([key]) => isWanted(key)));
  return {
    keys,
    credentials: part((key) => keys.includes(key)),
    others: part((key) => !keys.includes(key)),
    exec: isObject(user.exec) ? user.exec : undefined,
  };
}

function wordsOf({ command, args }: Readonly<Record<string, unknown>>): readonly string[] {
  return [command, ...(Array.isArray(args) ? args : [])].map(String);
}

/**
 * Returns true for an `exec` section that runs latchkey, as this program writes it and as people type it. `own` is this latchkey's
 * command: an executable can have any name.
 */
export function isOwn(
  exec: Readonly<Record<string, unknown>>,
  own: readonly string[] = ownCommand(() => []),
): boolean {
  const words = wordsOf(exec), at = words.indexOf("kube"), isExecutable = own.length === 1 && at === 1;
  return at > 0 && (RUNS_LATCHKEY.test(words[at - 1]!) || isExecutable && words[0] === own[0]);
}

const RUNS_LATCHKEY = new RegExp(String.raw`(^|[\\/])${PROGRAM}$`, "i");

/** Returns the ids in kubelogin's arguments: they save whoever comes from there to look them up. */
export function knownIds(exec: Readonly<Record<string, unknown>> | undefined): KnownIds {
  const words = exec ? wordsOf(exec) : [];
  if (!/(^|[\\/])kubelogin(\.exe)?$/.test(words[0] ?? "") || words[1] !== "get-token") return {};
  const valueOf = (name: string) => {
    const at = words.findIndex((word) => word === name || word.startsWith(`${name}=`));
    return at === -1 ? undefined : words[at]!.slice(name.length + 1) || words[at + 1];
  };
  return { serverId: valueOf("--server-id"), tenant: valueOf("--tenant-id") ?? valueOf("-t") };
}

/**
 * Returns the text of a kubeconfig with another value for a user. All that is not this value stays as it is, to the letter, if the
 * file has the usual form; else the file is written anew, with its comments and in its order.
 */
export function withUser(config: Kubeconfig, name: string, user: Readonly<Record<string, unknown>>): string {
  const { path, text, document, value } = config, list = document.get("users", true);
  const entry = isSeq<YAMLMap>(list) ? list.items.find((each) => each.get("name") === name) : undefined;
  const pair = entry?.items.find(({ key }) => isScalar(key) && key.value === "user") as Pair<ParsedNode, ParsedNode>;
  const expected = JSON.stringify(withUserIn(value, name, user));
  const fits = (changed: string) => {
    try {
      return JSON.stringify(parseKubeconfig(path, changed).value) === expected;
    } catch {
      return false; // an anchor that others refer to is gone, for example
    }
  };
  if (pair?.value && !entry?.flow) {
    const spliced = splice(text, pair, user);
    if (fits(spliced)) return spliced;
  }
  const last = isSeq<YAMLMap>(list) && !list.flow ? list.items.at(-1) : undefined;
  if (!entry && last?.range && !last.flow) {
    const appended = append(text, last.range, { name, user });
    if (fits(appended)) return appended;
  }
  if (entry) entry.set("user", document.createNode(user));
  else if (isSeq(list)) list.add(document.createNode({ name, user }));
  else document.set("users", document.createNode([{ name, user }]));
  let written = "";
  try {
    written = document.toString(formOf(text));
  } catch {
    // An alias without its anchor: the check says so.
  }
  if (fits(written)) return written;
  throw unusable(path, `it cannot be changed for the user ${JSON.stringify(name)} without a change for others`);
}

/** Puts a value into the text in place of a pair's. */
function splice(text: string, { key, value }: Pair<ParsedNode, ParsedNode>, user: object): string {
  const from = key.range[0], to = value!.range[1], end = /\s*$/.exec(text.slice(from, to))![0];
  return text.slice(0, from) + indented({ user }, text, from) + end + text.slice(to);
}

/** Puts an item into the text after the last one of a list. */
function append(text: string, [from, to]: readonly number[], item: object): string {
  const line = text.slice(text.lastIndexOf("\n", from! - 1) + 1, from),
    at = to! - /\s*$/.exec(text.slice(from, to))![0].length;
  return `${text.slice(0, at)}${eolOf(text)}${line}${indented(item, text, from!)}${text.slice(at)}`;
}

/** Returns YAML for a place in the text: indented as what is there, and with the same ends of lines. */
function indented(value: object, text: string, at: number): string {
  const column = at - (text.lastIndexOf("\n", at - 1) + 1), block = yamlOf(value, formOf(text)).trimEnd();
  return block.replaceAll("\n", `${eolOf(text)}${" ".repeat(column)}`);
}

function eolOf(text: string): string {
  return text.includes("\r\n") ? "\r\n" : "\n";
}

/** Returns the form of a text: kubectl does not indent the items of a list. */
function formOf(text: string) {
  return { ...UNFOLDED, indentSeq: !/^\w+:[^\S\n]*\r?\n-/m.test(text) };
}

function yamlOf(value: object, form: typeof UNFOLDED = UNFOLDED): string {
  return new Document(value, YAML).toString(form);
}

function withUserIn(whole: JsonObject, name: string, user: object): JsonObject {
  const users: readonly unknown[] = Array.isArray(whole.users) ? whole.users : [];
  const isKnown = users.some((entry) => isObject(entry) && entry.name === name);
  let isFirst = true;
  const changed = users.map((entry) => {
    if (!isObject(entry) || entry.name !== name || !isFirst) return entry;
    isFirst = false;
    return { ...entry, user };
  });
  return { ...whole, users: isKnown ? changed : [...users, { name, user }] };
}

/** Path of what a kubeconfig had before. No client takes it for a kubeconfig. */
function keptPath(path: string): string {
  return `${path}.before-latchkey`;
}

async function readKept(path: string): Promise<Kubeconfig | undefined> {
  const text = await readPlacedFile(keptPath(path));
  return text === undefined ? undefined : parseKubeconfig(keptPath(path), text);
}

const KEPT = "# Kept by latchkey kube --install, and brought back by latchkey kube --uninstall. It can have secrets.\n";
const PRIVATE_FILE = 0o600;

/**
 * Keeps what signs a user in, in place of what was kept of that user before; in addition to it if the user still runs latchkey, as
 * after `kubectl config set-credentials`.
 */
async function keep(path: string, user: string, config: Kubeconfig): Promise<void> {
  const kept = await readKept(path), { credentials: { exec, ...others } } = credentialsIn(config, user);
  const credentials = isObject(exec) && isOwn(exec)
    ? { ...kept && credentialsIn(kept, user).credentials, ...others }
    : { ...others, ...(exec !== undefined && { exec }) };
  const text = kept
    ? withUser(kept, user, credentials)
    : `${KEPT}${yamlOf({ users: [{ name: user, user: credentials }] })}`;
  await placeFile(keptPath(path), text, PRIVATE_FILE);
}

/** Removes from the kept entries those that are back; at last the file. */
async function forget(path: string): Promise<void> {
  const kept = await readKept(path);
  if (!kept) return;
  const config = await readKubeconfig(path);
  const left = namesIn(kept, "users").filter((user) => {
    const { exec } = credentialsIn(config, user);
    return exec && isOwn(exec);
  });
  if (left.length === 0) return await removePlacedFile(keptPath(path));
  const users = left.map((name) => ({ name, user: credentialsIn(kept, name).credentials }));
  await placeFile(keptPath(path), `${KEPT}${yamlOf({ users })}`, PRIVATE_FILE);
}
