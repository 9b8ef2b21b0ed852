/**
 * `latchkey kube --install` and `--uninstall`: the user entries of a kubeconfig that make kubectl run latchkey.
 *
 * @module
 */
import { Document, isScalar, isSeq, LineCounter, type Pair, type ParsedNode, parseDocument, type YAMLMap } from "yaml";
import { isGuid, isObject, type JsonObject } from "../../../lib/encoding.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { fileFailure } from "../../../lib/files/files.ts";
import { changeSharedFile } from "../../../lib/files/placed_file.ts";
import { readPrivateFile, removePrivateFile, replacePrivateFile } from "../../../lib/files/private_files.ts";
import { homeFolder } from "../../../lib/files/user_folders.ts";
import { operatingSystem, quoteCommand, readEnvironment } from "../../../lib/runtime/host.ts";
import { ownCommand } from "../../../lib/runtime/installation.ts";
import { absolutePath, isThere, readTextFile } from "../../../lib/runtime/paths.ts";
import { PROGRAM } from "../../cli/stored_command.ts";
import { unknown, UsageError } from "../../cli/command_line.ts";
import { escapeForTerminal, print, say } from "../../cli/output.ts";
import { AKS_SERVER, microsoftApiOf } from "../../../lib/oauth/microsoft_apps.ts";

/** The `exec` section to write. */
interface Exec {
  readonly apiVersion: string;
  readonly interactiveMode: "Never" | "IfAvailable";
  /** Command of this latchkey, without ids that the kubeconfig may know. */
  readonly command: readonly string[];
  /** Ids that the user named. */
  readonly named: ClusterIds;
  /** Returns the command with ids that the kubeconfig knows. */
  readonly commandFor: (known: ClusterIds) => readonly string[];
}

/** Ids of a cluster, which kubelogin's arguments name as latchkey's do, or with `-id`. */
interface ClusterIds {
  readonly serverId?: string | undefined;
  readonly tenant?: string | undefined;
}

/** Keys of a user that sign in, and exclude `exec`. The others (`as`, `extensions`, …) stay. */
const CREDENTIALS = [
  ...["client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile"],
  ...["username", "password", "auth-provider", "exec"],
];

/** Keys of a user that make kubectl act as another user. */
const IMPERSONATION = ["as", "as-uid", "as-groups", "as-user-extra"];

/** Domains of the servers of Azure Kubernetes Service: the public cloud's, China's and those of the US government. */
const AKS_DOMAINS = [".azmk8s.io", ".cx.prod.service.azk8s.cn", ".cx.aks.containerservice.azure.us"];

/** Keys of a cluster of Azure Kubernetes Service, as `az aks get-credentials` writes it. Others can lead its requests elsewhere. */
const AKS_CLUSTER_KEYS = ["server", "certificate-authority-data", "extensions"];

/**
 * Variables of an `exec` section that stay: they choose among what is the user's own, or how the user is asked. All others could
 * come from the author of the file, and run code, name another authority, or read and write files.
 */
const KEPT_VARIABLES = [
  ...["LATCHKEY_ACCOUNT", "LATCHKEY_PROFILE", "LATCHKEY_BROKER", "LATCHKEY_INTERACTIVE", "LATCHKEY_MIN_TTL"],
  ...["LATCHKEY_TIMEOUT", "LATCHKEY_VERBOSE"],
];

/**
 * Makes clients of a context's cluster run latchkey: changes the context's user, and no more of the kubeconfig. What signed the
 * user in before is kept in a file of its own. Prints what was written.
 *
 * @throws {UsageError} if there is no such context, its user signs in as an app, or the kubeconfig has ids that only the user may
 * choose.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if a kubeconfig cannot be read or written.
 */
export async function installExec(context: string, exec: Exec): Promise<void> {
  const files = await readKubeconfigs();
  const { user, file } = userOf(files, context);
  const cluster = clusterOf(files, context);
  const sharing = contextsOf(files, user).filter((name) => name !== context);
  const place = `the user ${JSON.stringify(user)} in ${file.path}`;
  let change: UserChange | undefined;
  await changeSharedFile(file.path, async ({ text, target }) => {
    const config = parseKubeconfig(file.path, text);
    const old = credentialsIn(config, user);
    requireUserLogin(old.exec, { user, context });
    const ids = idsToTake(old.exec, { named: exec.named, cluster });
    const [command = "", ...args] = exec.commandFor(ids);
    const environment = environmentIn(old.exec, exec.command);
    const section = {
      apiVersion: exec.apiVersion,
      command,
      args,
      ...(environment.kept.length > 0 && { env: environment.kept }),
      interactiveMode: exec.interactiveMode,
      provideClusterInfo: false,
    };
    const isDone = JSON.stringify(old.exec) === JSON.stringify(section) && old.keys.length === 1;
    const impersonating = Object.keys(old.others).filter((key) => IMPERSONATION.includes(key));
    change = { ...{ section, isDone, ids, impersonating, target }, dropped: environment.dropped, before: [] };
    if (isDone) return undefined;
    const isReplaced = !isRunBy(old.exec, exec.command) || environment.dropped.length > 0;
    change = { ...change, before: await keep(target, { user, config, isReplaced }) };
    return withUser(config, user, { ...old.others, exec: section });
  });
  if (!change) return;
  const entry = yamlOf({ users: [{ name: user, user: { exec: change.section } }] });
  print(entry.split("\n").map(escapeForTerminal).join("\n"));
  const undo = quoteCommand(["latchkey", "kube", "--uninstall", "--context", context]);
  say(`${change.isDone ? "had already written" : "wrote"} ${place}; the context ${context} uses it. To undo: ${undo}`);
  sayTaken(change, cluster);
  if (sharing.length > 0) {
    say(`other contexts have the same user, and now run latchkey, too: ${sharing.join(", ")}`);
  }
}

/** A change of a user's entry. */
interface UserChange {
  readonly section: object;
  /** True if the entry was so before. */
  readonly isDone: boolean;
  /** Ids that come from the entry before. */
  readonly ids: ClusterIds;
  /** Keys of the entry, which stay, by which kubectl acts as another user. */
  readonly impersonating: readonly string[];
  /** Names of variables that the entry had before, and has no longer. */
  readonly dropped: readonly string[];
  /** Names of the keys of the entry before that were kept. */
  readonly before: readonly string[];
  readonly target: string;
}

/** Says what came from the entry that was there before, what did not, and where the rest is. */
function sayTaken({ ids, impersonating, dropped, before, target }: UserChange, { server }: Cluster): void {
  const { serverId, tenant } = ids;
  const taken = [
    ...(serverId === undefined ? [] : [`--server-id=${serverId} (Azure Kubernetes Service)`]),
    ...(tenant === undefined ? [] : [`--tenant=${tenant}`]),
  ];
  if (taken.length > 0) say(`taken from the entry before it: ${taken.join(", ")}. The tokens go to ${server}`);
  if (dropped.length > 0) say(`not taken from the entry before it: env ${dropped.map(escapeForTerminal).join(", ")}`);
  if (impersonating.length > 0) {
    say(`the entry still has ${impersonating.join(", ")}: with your token, kubectl acts as the user that this names`);
  }
  if (before.length > 0) {
    say(`what it had before (${before.join(", ")}) is in ${keptPath(target)}; --uninstall brings it back`);
  }
}

/**
 * Removes what {@linkcode installExec} wrote, for the user of a context or for all, and brings back what was there before.
 *
 * @throws {UsageError} if there is no such context.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if a kubeconfig cannot be read or written.
 */
export async function uninstallExec(context: string | undefined): Promise<void> {
  const files = await readKubeconfigs();
  const only = context === undefined ? undefined : userOf(files, context);
  let removed = 0;
  for (const file of only ? [only.file] : files) {
    const users = await uninstallFrom(file, only?.user);
    removed += users.length;
  }
  if (removed === 0) say("no user of the kubeconfig runs latchkey: nothing to remove");
}

/** Removes the entries of one file, for a user or for all. Returns the users that had one. */
async function uninstallFrom({ path }: Kubeconfig, onlyUser: string | undefined): Promise<readonly string[]> {
  const changed: string[] = [];
  await changeSharedFile(path, async ({ text, target }) => {
    let config = parseKubeconfig(path, text);
    const kept = await readKept(target);
    for (const user of onlyUser === undefined ? namesIn(config, "users") : [onlyUser]) {
      const restored = restoreUser(config, kept, user);
      if (restored === undefined) continue;
      config = restored;
      changed.push(user);
    }
    return changed.length > 0 ? config.text : undefined;
  }, (target) => forget(target, changed));
  return changed;
}

/** Gives a user what it had before, and says so. Returns `undefined` if the user does not run latchkey. */
function restoreUser(config: Kubeconfig, kept: Kubeconfig | undefined, user: string): Kubeconfig | undefined {
  const { exec, others } = credentialsIn(config, user);
  if (!exec || !isOwn(exec)) return undefined;
  const old = kept && findEntry(kept, "users", user) ? credentialsIn(kept, user) : undefined;
  const restored = old ? { ...others, ...old.credentials } : others;
  const changed = parseKubeconfig(config.path, withUser(config, user, restored));
  print(`${user}\n`);
  const now = old ? `; it has this again: ${old.keys.map((key) => nameOf(key, old.exec)).join(", ")}` : "";
  say(`the user ${JSON.stringify(user)} in ${config.path} no longer runs latchkey${now}`);
  return changed;
}

/** Returns a key of a user for a message; of `exec` with its command. */
function nameOf(key: string, exec: JsonObject | undefined): string {
  return key === "exec" && exec ? `exec of ${escapeForTerminal(String(exec.command))}` : key;
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

type List = "users" | "contexts" | "clusters";

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

/** The cluster of a context. */
interface Cluster {
  /** URL of its server, for a message. */
  readonly server: string;
  /** True if requests for it can only reach a server of Azure Kubernetes Service. */
  readonly isAks: boolean;
}

/** Returns the cluster of a context: of several that have its name, the first counts. */
function clusterOf(files: readonly Kubeconfig[], context: string): Cluster {
  const owner = files.find((file) => findEntry(file, "contexts", context));
  const entry = owner && findEntry(owner, "contexts", context);
  const name = isObject(entry?.context) ? entry.context.cluster : undefined;
  const entries = files.map((file) => typeof name === "string" ? findEntry(file, "clusters", name) : undefined);
  const cluster = entries.find((each) => each !== undefined)?.cluster;
  if (!isObject(cluster) || typeof cluster.server !== "string") {
    return { server: "the server of the context", isAks: false };
  }
  const { server } = cluster;
  const isPlain = Object.keys(cluster).every((key) => AKS_CLUSTER_KEYS.includes(key));
  return { server: escapeForTerminal(server), isAks: isPlain && isAksServer(server) };
}

function isAksServer(server: string): boolean {
  if (!URL.canParse(server)) return false;
  const { protocol, hostname, username, password } = new URL(server);
  const isPublicName = /^[a-z\d.-]+$/.test(hostname) && AKS_DOMAINS.some((domain) => hostname.endsWith(domain));
  return protocol === "https:" && username === "" && password === "" && isPublicName;
}

function contextsOf(files: readonly Kubeconfig[], user: string): readonly string[] {
  const all = files.flatMap((file) => entriesOf(file, "contexts")).filter((entry) => userIn(entry) === user);
  return [...new Set(all.map(({ name }) => escapeForTerminal(String(name))))];
}

/** The parts of a user: keys that sign in, their values, and the rest. */
function credentialsIn(config: Kubeconfig, name: string) {
  const value = findEntry(config, "users", name)?.user;
  const user = isObject(value) ? value : {};
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
  const words = wordsOf(exec);
  const at = words.indexOf("kube");
  const isExecutable = own.length === 1 && at === 1;
  return at > 0 && (RUNS_LATCHKEY.test(words[at - 1]!) || isExecutable && words[0] === own[0]);
}

const RUNS_LATCHKEY = new RegExp(String.raw`(^|[\\/])${PROGRAM}$`, "i");

/** Returns true if an `exec` section runs a command of this latchkey, whatever the options are. */
function isRunBy(exec: JsonObject | undefined, command: readonly string[]): boolean {
  const words = exec ? wordsOf(exec) : [];
  const program = command.slice(0, command.indexOf("kube") + 1);
  return program.every((word, index) => words[index] === word);
}

/** A variable of an `exec` section. */
interface Variable {
  readonly name: string;
  readonly value: string;
}

/** The environment of an `exec` section that runs latchkey. */
interface SectionEnvironment {
  /** Variables that the new section keeps: of those that this latchkey wrote, or the user added to it. */
  readonly kept: readonly Variable[];
  /** Names of the others. */
  readonly dropped: readonly string[];
}

/** Divides the environment of an `exec` section. That of another program's moves with its section, and is not looked at. */
function environmentIn(exec: JsonObject | undefined, command: readonly string[]): SectionEnvironment {
  if (!exec || !isOwn(exec)) return { kept: [], dropped: [] };
  const entries: readonly unknown[] = Array.isArray(exec.env) ? exec.env : [];
  const isOurs = isRunBy(exec, command);
  const kept = entries.flatMap((entry): readonly Variable[] => {
    if (!isOurs || !isObject(entry)) return [];
    const { name, value } = entry;
    if (typeof name !== "string" || typeof value !== "string" || !KEPT_VARIABLES.includes(name)) return [];
    return [{ name, value }];
  });
  const names = entries.map((entry) => isObject(entry) ? String(entry.name) : "without a name");
  return { kept, dropped: names.filter((name) => !kept.some((variable) => variable.name === name)) };
}

/** kubelogin's ways to sign a user in. All others, also those that are not known here, sign in an app. */
const USER_LOGINS = ["devicecode", "interactive", "azurecli", "azd", "ropc"];

/**
 * Refuses to replace an app's sign-in by a user's, and an entry of kubelogin that is not understood.
 *
 * @throws {UsageError} if an `exec` section runs kubelogin for an app, or otherwise than to get a token.
 */
function requireUserLogin(exec: JsonObject | undefined, { user, context }: { user: string; context: string }): void {
  if (!exec || !runsKubelogin(exec)) return;
  const login = kubelogin(exec)?.login;
  if (login !== undefined && USER_LOGINS.includes(login)) return;
  const fix = quoteCommand(["kubectl", "config", "set-context", context, `--user=${context}-latchkey`]);
  const what = login === undefined
    ? "runs kubelogin without get-token, so latchkey cannot tell whether it signs in a user"
    : `signs in as an app (kubelogin --login ${escapeForTerminal(login)}), and latchkey kube signs in a user`;
  const keep = login === undefined ? "Keep kubelogin" : "Keep kubelogin for the app";
  throw new UsageError(
    `The user ${
      JSON.stringify(user)
    } ${what}. ${keep}; to use latchkey in this context, give the context a user of its own ` +
      `(${fix}), then run this again with --server-id and --tenant`,
  );
}

function runsKubelogin(exec: Readonly<Record<string, unknown>>): boolean {
  return /(^|[\\/])kubelogin(\.exe)?$/i.test(wordsOf(exec)[0]!);
}

/** Returns what kubelogin's arguments say; `undefined` for another program, and another command than `get-token`. */
export function kubelogin(
  exec: Readonly<Record<string, unknown>> | undefined,
): ClusterIds & { readonly login: string } | undefined {
  if (!exec || !runsKubelogin(exec)) return undefined;
  const words = wordsOf(exec);
  // Flags, such as -v 5, can stand before the command.
  if (!words.includes("get-token")) return undefined;
  // Of several values the last one counts. A short name can stand right before its value.
  const valueOf = (name: string, short?: string): string | undefined => {
    const isShort = (word: string) => short !== undefined && word.startsWith(short) && !word.startsWith("--");
    const at = words.findLastIndex((word) => word === name || word.startsWith(`${name}=`) || isShort(word));
    const word = words[at] ?? "";
    const attached = isShort(word) ? word.slice(short!.length).replace(/^=/, "") : word.slice(name.length + 1);
    return at === -1 ? undefined : attached || words[at + 1];
  };
  const variables: readonly unknown[] = Array.isArray(exec.env) ? exec.env : [];
  // Of several variables of one name, a process gets the last.
  const variable = variables.findLast((each) => isObject(each) && each.name === "AAD_LOGIN_METHOD");
  const methods = [valueOf("--login", "-l"), isObject(variable) ? String(variable.value) : undefined]
    .filter((method) => method !== undefined);
  return {
    serverId: valueOf("--server-id"),
    tenant: valueOf("--tenant-id", "-t"),
    // Which of the two counts depends on another flag: an app's sign-in in either is one.
    login: methods.find((method) => !USER_LOGINS.includes(method)) ?? methods[0] ?? "devicecode",
  };
}

/**
 * Returns the ids of kubelogin's arguments that may be taken without a question: the id that all clusters of Azure Kubernetes
 * Service share, if the token goes to one of them, since it is good at all clusters of the user's tenant; and the id of a tenant.
 *
 * @throws {UsageError} if the arguments have others: the author of the file would choose what the user's token is for.
 */
function idsToTake(
  exec: JsonObject | undefined,
  { named, cluster: { server, isAks } }: { readonly named: ClusterIds; readonly cluster: Cluster },
): ClusterIds {
  const known = kubelogin(exec);
  const serverId = named.serverId === undefined ? known?.serverId : undefined;
  const tenant = named.tenant === undefined ? known?.tenant : undefined;
  if (serverId?.toLowerCase() === AKS_SERVER && !isAks) {
    throw new UsageError(
      `The kubeconfig wants tokens for Azure Kubernetes Service to go to ${server}, which is none of its servers, or is ` +
        "reached in an unusual way (a proxy, another TLS name, no check of its certificate). The server could use them at " +
        `every cluster of your tenant. Only if you trust it with that, name the app: ${
          quoteCommand([["--server-id", serverId]])
        }`,
    );
  }
  if (serverId !== undefined && serverId.toLowerCase() !== AKS_SERVER) {
    const name = microsoftApiOf(serverId);
    const wanted = `The kubeconfig wants tokens for ${
      name ?? `the app ${JSON.stringify(serverId)}`
    } to go to ${server}`;
    throw new UsageError(
      name === undefined
        ? `${wanted}. If the cluster accepts these, name the app: ${quoteCommand([["--server-id", serverId]])}`
        : `${wanted}. No cluster accepts these, and its server could use them as you: do not trust this file`,
    );
  }
  if (tenant !== undefined && !isGuid(tenant)) {
    throw new UsageError(
      `The kubeconfig wants tokens of the tenant ${
        JSON.stringify(tenant)
      } to go to ${server}. If that is the cluster's ` +
        `tenant, name it: ${quoteCommand([["--tenant", tenant]])}`,
    );
  }
  return { serverId, tenant };
}

/**
 * Returns the text of a kubeconfig with another value for a user. All that is not this value stays as it is, to the letter, if the
 * file has the usual form; else the file is written anew, with its comments and in its order.
 */
export function withUser(config: Kubeconfig, name: string, user: Readonly<Record<string, unknown>>): string {
  const { path, text, document, value } = config;
  const list = document.get("users", true);
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
  const from = key.range[0];
  const to = value!.range[1];
  const end = /\s*$/.exec(text.slice(from, to))![0];
  return text.slice(0, from) + indented({ user }, text, from) + end + text.slice(to);
}

/** Puts an item into the text after the last one of a list. */
function append(text: string, [from, to]: readonly number[], item: object): string {
  const line = text.slice(text.lastIndexOf("\n", from! - 1) + 1, from);
  const at = to! - /\s*$/.exec(text.slice(from, to))![0].length;
  return `${text.slice(0, at)}${eolOf(text)}${line}${indented(item, text, from!)}${text.slice(at)}`;
}

/** Returns YAML for a place in the text: indented as what is there, and with the same ends of lines. */
function indented(value: object, text: string, at: number): string {
  const column = at - (text.lastIndexOf("\n", at - 1) + 1);
  const block = yamlOf(value, formOf(text)).trimEnd();
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

/** Path of what a kubeconfig had before; of a link, next to the file that it leads to. No client takes it for a kubeconfig. */
function keptPath(target: string): string {
  return `${target}.before-latchkey`;
}

/** Reads what was kept. Another user could have put it there, and would choose what kubectl runs. */
async function readKept(target: string): Promise<Kubeconfig | undefined> {
  const path = keptPath(target);
  const bytes = isThere(path) ? await readPrivateFile(path) : undefined;
  return bytes && parseKubeconfig(path, new TextDecoder().decode(bytes));
}

const KEPT = "# Kept by latchkey kube --install, and brought back by latchkey kube --uninstall. It can have secrets.\n";

async function writeKept(target: string, text: string): Promise<void> {
  await replacePrivateFile(keptPath(target), new TextEncoder().encode(text));
}

/**
 * Keeps what signs a user in, in place of what was kept of that user before; in addition to it if the user runs latchkey, as after
 * `kubectl config set-credentials`. Returns the names of what was kept.
 */
async function keep(
  target: string,
  { user, config, isReplaced }: {
    readonly user: string;
    readonly config: Kubeconfig;
    /** True if the `exec` section is another one than this latchkey would write. */
    readonly isReplaced: boolean;
  },
): Promise<readonly string[]> {
  const old = credentialsIn(config, user);
  const { exec, ...others } = old.credentials;
  const isLatchkey = old.exec !== undefined && isOwn(old.exec);
  if (Object.keys(others).length === 0 && (exec === undefined || isLatchkey && !isReplaced)) return [];
  const kept = await readKept(target);
  const earlier = isLatchkey && kept ? credentialsIn(kept, user).credentials : {};
  const isExecKept = exec !== undefined && isReplaced && earlier.exec === undefined;
  const credentials = { ...earlier, ...others, ...(isExecKept && { exec }) };
  const names = [...Object.keys(others), ...(isExecKept ? [nameOf("exec", old.exec)] : [])];
  if (names.length === 0) return [];
  await writeKept(
    target,
    kept ? withUser(kept, user, credentials) : `${KEPT}${yamlOf({ users: [{ name: user, user: credentials }] })}`,
  );
  return names;
}

/** Removes from the kept entries those that are back; finally the file. */
async function forget(target: string, back: readonly string[]): Promise<void> {
  const kept = await readKept(target);
  if (!kept) return;
  const config = await readKubeconfig(target);
  const left = namesIn(kept, "users").filter((user) => {
    const { exec } = credentialsIn(config, user);
    return !back.includes(user) && exec && isOwn(exec);
  });
  if (left.length === 0) return await removePrivateFile(keptPath(target));
  const users = left.map((name) => ({ name, user: credentialsIn(kept, name).credentials }));
  await writeKept(target, `${KEPT}${yamlOf({ users })}`);
}
