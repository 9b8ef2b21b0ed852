/**
 * Kubeconfigs: how they are found, read, and changed for a user.
 *
 * @module
 */
import { Document, isScalar, isSeq, LineCounter, type Pair, type ParsedNode, parseDocument, type YAMLMap } from "yaml";
import { isObject, type JsonObject } from "../../../lib/encoding.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { fileFailure } from "../../../lib/files/files.ts";
import { homeFolder } from "../../../lib/files/user_folders.ts";
import { operatingSystem, quoteCommand, readEnvironment } from "../../../lib/runtime/host.ts";
import { absolutePath, isThere, readTextFile } from "../../../lib/runtime/path.ts";
import { unknown, UsageError } from "../../cli/command_line.ts";
import { escapeForTerminal } from "../../../lib/control_characters.ts";

/** Keys of a user that sign in, and exclude `exec`. The others (`as`, `extensions`, …) stay. */
const CREDENTIALS = [
  ...["client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile"],
  ...["username", "password", "auth-provider", "exec"],
];

/** Domains of the servers of Azure Kubernetes Service: the public cloud's, China's and those of the US government. */
const AKS_DOMAINS = [".azmk8s.io", ".cx.prod.service.azk8s.cn", ".cx.aks.containerservice.azure.us"];

/** Keys of a cluster of Azure Kubernetes Service, as `az aks get-credentials` writes it. Others can lead its requests elsewhere. */
const AKS_CLUSTER_KEYS = ["server", "certificate-authority-data", "extensions"];

/** A kubeconfig as it was read. */
export interface Kubeconfig {
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

/** Reads the kubeconfigs that exist, in the order in which they count. */
export async function readKubeconfigs(): Promise<readonly Kubeconfig[]> {
  const paths = kubeconfigPaths(readEnvironment("KUBECONFIG"), operatingSystem(), homeFolder).map(absolutePath);
  const there = paths.filter((path) => isThere(path));
  if (there.length === 0) {
    throw new LatchkeyError("configuration", `There is no kubeconfig: ${paths.join(", ")}`, {
      remedy: "Get the cluster's first (az aks get-credentials), or set KUBECONFIG",
    });
  }
  return await Promise.all(there.map(readKubeconfig));
}

/** Reads a kubeconfig. */
export async function readKubeconfig(path: string): Promise<Kubeconfig> {
  try {
    return parseKubeconfig(path, await readTextFile(path));
  } catch (error) {
    throw fileFailure(error, { doing: "read", path });
  }
}

/** Parses a kubeconfig. Errors quote none of it: it can have secrets. */
export function parseKubeconfig(path: string, text: string): Kubeconfig {
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
    remedy: "Correct the file, or name another one in KUBECONFIG",
  });
}

type List = "users" | "contexts" | "clusters";

function entriesOf({ value }: Kubeconfig, list: List): readonly JsonObject[] {
  const entries = value[list];
  return Array.isArray(entries) ? entries.filter(isObject) : [];
}

/** Returns the first entry of a name in a list. */
export function findEntry(config: Kubeconfig, list: List, name: string): JsonObject | undefined {
  return entriesOf(config, list).find((entry) => entry.name === name);
}

/** Returns the names of the entries of a list. */
export function namesIn(config: Kubeconfig, list: List): readonly string[] {
  return entriesOf(config, list).map(({ name }) => name).filter((name) => typeof name === "string");
}

function userIn(entry: JsonObject | undefined): unknown {
  return isObject(entry?.context) ? entry.context.user : undefined;
}

/** Returns a context's user, and the file to change: of several that have an entry, the first counts. */
export function userOf(
  files: readonly Kubeconfig[],
  context: string,
): { readonly user: string; readonly file: Kubeconfig } {
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
export interface Cluster {
  /** URL of its server, for a message. */
  readonly server: string;
  /** True if requests for it can only reach a server of Azure Kubernetes Service. */
  readonly isAks: boolean;
}

/** Returns the cluster of a context: of several that have its name, the first counts. */
export function clusterOf(files: readonly Kubeconfig[], context: string): Cluster {
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

/** Returns the names of the contexts of a user, for a message. */
export function contextsOf(files: readonly Kubeconfig[], user: string): readonly string[] {
  const all = files.flatMap((file) => entriesOf(file, "contexts")).filter((entry) => userIn(entry) === user);
  return [...new Set(all.map(({ name }) => escapeForTerminal(String(name))))];
}

/** The parts of a user. */
interface UserParts {
  /** The keys that sign in. */
  readonly keys: readonly string[];
  /** The values of these. */
  readonly credentials: JsonObject;
  /** The rest. */
  readonly others: JsonObject;
  readonly exec: JsonObject | undefined;
}

/** Returns the parts of a user, which are empty if the user is missing. */
export function credentialsIn(config: Kubeconfig, name: string): UserParts {
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

/** Returns a value as YAML. */
export function yamlOf(
  value: object,
  form: { readonly lineWidth: number; readonly indentSeq?: boolean } = UNFOLDED,
): string {
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
